//! Keys are found, and nothing else is, on every width of vectors.

use fearless_simd::dispatch;

use super::super::extent::levels;
use super::finder::Window;
use super::*;

fn values<'r>(names: &[&str], record: &'r [u8]) -> Result<Vec<Raw<'r>>, Escaped> {
    let (mut keys, mut seen) = (Keys::default(), Sightings::default());
    names.iter().for_each(|name| _ = keys.name(name));
    keys.find(record, &mut seen);
    Ok(seen.places()?.iter().map(|place| place.value(record)).collect())
}

#[test]
fn values_of_a_key() {
    let text = |text: &'static str| Raw::Text(text.as_bytes());
    let other = |text: &'static [u8]| Raw::Other(text);
    let cases: [(&[u8], Vec<Raw<'_>>); 12] = [
        (br#"{"eventName":"CreateUser"}"#, vec![text("CreateUser")]),
        (b"{\"eventName\" :\n\t\"CreateUser\"}", vec![text("CreateUser")]),
        (br#"{"eventSource":"iam"}"#, vec![]),
        (br#"{"eventName":"A","eventName":"B"}"#, vec![text("A"), text("B")]),
        (br#"{"eventName":"A","requestParameters":{"eventName":"B"}}"#, vec![text("A"), text("B")]),
        (br#"{"eventName":"a\"b"}"#, vec![other(br#""a\"b"}"#)]),
        (br#"{"eventName":7}"#, vec![Raw::Literal(b"7")]),
        (br#"{"eventName":null}"#, vec![Raw::Literal(b"null")]),
        (br#"{"eventName":["A"]}"#, vec![other(br#"["A"]}"#)]),
        (br#"{"x":"eventName"}"#, vec![]),
        (br#"{"x":"{\"eventName\":\"A\"}"}"#, vec![]),
        ("{\"eventName\":\"\u{212a}\"}".as_bytes(), vec![other("\"\u{212a}\"}".as_bytes())]),
    ];
    for (record, expected) in cases {
        assert_eq!(values(&["eventName"], record), Ok(expected), "{}", String::from_utf8_lossy(record));
    }
}

#[test]
fn texts_end_at_their_quotes() {
    for before in 0..40 {
        for end in ["\"", "\\\"", "\u{212a}\"", "\u{80}\"", "\u{7f}\"", "#\"", "!\"", "]\"", "[\"", ""] {
            for behind in ["", "\"", "\\", "\u{80}", ",\"x\":\"yyyyyyyyyyyyyyyyyyyyyyyyyy\""] {
                let text = format!("\"{}{end}{behind}", "a".repeat(before));
                let inner = &text.as_bytes()[1..];
                let special = inner.iter().position(|byte| *byte == b'"' || *byte == b'\\' || *byte >= 0x80);
                let expected = special.filter(|at| inner[*at] == b'"').map(|at| Raw::Text(&inner[..at]));
                assert_eq!(Raw::text(text.as_bytes()), expected, "{text}");
            }
        }
    }
}

#[test]
fn escapes_are_told() {
    let cases: [(&[u8], bool); 4] = [
        (br#"{"eventNam\u0065":"A","requestParameters":{"eventName":"B"}}"#, true),
        (br#"{"eventName":"\u0043reateUser"}"#, true),
        (br#"{"a":"\n","eventName":"A"}"#, false),
        (br#"{"eventName":"A"}"#, false),
    ];
    for (record, escaped) in cases {
        assert_eq!(values(&["eventName"], record).is_err(), escaped);
    }
}

#[test]
fn places_at_the_top() {
    let record = br#"{"a":{"k":1},"x":"\"k\"","l":["k"],"k":2,"m":{"n":{"k":3}}}"#;
    let (mut keys, mut seen) = (Keys::default(), Sightings::default());
    keys.name("k");
    keys.find(record, &mut seen);
    let places = seen.places().unwrap();
    let found: Vec<_> = places.iter().map(|place| (place.value(record), place.is_at_top(record))).collect();
    let literal = |text: &'static str| Raw::Literal(text.as_bytes());
    assert_eq!(found, [(literal("1"), false), (literal("2"), true), (literal("3"), false)]);
}

#[test]
fn every_place_is_found_on_every_width() {
    const PATHS: [&str; 9] = [
        "a",
        "b.c.type",
        "eventName",
        "eventSource",
        "x-amz-acl",
        "requestParameters.omitted",
        "userAgent",
        "x",
        "sourceIPAddress",
    ];
    const NAMES: [&str; 6] =
        ["\"a\"", "\"c.type\"", "\"eventName\"", "\"eventSource\"", "\"x-amz-acl\"", "\"omitted\""];
    let mut keys = Keys::default();
    for (number, path) in PATHS.iter().enumerate() {
        assert_eq!(keys.add(&FieldPath::new(path)), number);
    }
    assert!(keys.many.is_some());
    let (mut state, mut found, mut knew) = (11_u64, 0, 0);
    for round in 0..6_000_usize {
        let mut record = Vec::new();
        for _ in 0..round % 50 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let pick = (state >> 33) as usize;
            let pieces =
                ["\"", "a", "{", "\\", ":", "eventN", "type", "\"a\"", "xxxxxxxxxxxxxxxxxxxxx", "\"type\""];
            if pick.is_multiple_of(97) {
                record.extend_from_slice(b"\" :");
            }
            match pick % 16 {
                piece @ 0..10 => record.extend_from_slice(pieces[piece].as_bytes()),
                name => {
                    record.extend_from_slice(NAMES[name - 10].as_bytes());
                    record.push(b':');
                }
            }
        }
        let mut expected = Vec::new();
        for (key, path) in PATHS.iter().enumerate() {
            for name in FieldPath::new(path).last_keys() {
                let quoted = format!("\"{name}\"").into_bytes();
                let starts = (0..record.len()).filter(|start| record[*start..].starts_with(&quoted));
                expected.extend(starts.map(|start| Place {
                    key,
                    start,
                    end: start + quoted.len(),
                    is_prefixed: name.contains('.'),
                    is_promising: true,
                }));
            }
        }
        expected
            .retain(|place| record.get(place.end) == Some(&b':') || record[place.end..].starts_with(b" :"));
        expected.sort_by_key(|place| (place.key, place.start));
        for level in levels() {
            let mut seen = Sightings::default();
            let text = String::from_utf8_lossy(&record);
            dispatch!(level, simd => keys.find_with(simd, None, Window::whole(&record), &mut seen));
            seen.places.sort_by_key(|place| (place.key, place.start));
            assert_eq!(seen.places, expected, "{level:?} {text}");

            dispatch!(level, simd => keys.find_with(simd, keys.many.as_deref(), Window::whole(&record), &mut seen));
            let (mut ends, mut again) = (Ends::default(), Sightings::default());
            keys.find_again(Record { bytes: &record, seen: &seen }, &mut ends, &mut again);
            again.places.sort_by_key(|place| (place.key, place.start));
            assert_eq!(again.places, expected, "{level:?} {text}");
            knew += usize::from(ends.are_known_by(&seen.closes, &record));
            seen.places.sort_by_key(|place| (place.key, place.start));
            assert_eq!(seen.places, expected, "{level:?} {text}");
            found += expected.len();

            let mut within = Sightings::default();
            let (mut extent, mut plain) = (Extent::default(), Extent::default());
            let object = [b"{", &*record, b"}{\"a\":\"eventName\"}"].concat();
            let end =
                dispatch!(level, simd => keys.find_in_first_with(simd, &mut extent, &object, &mut within));
            assert_eq!(end, plain.scan(&object), "{level:?} {text}");
            if let Some(end) = end {
                ends.forget();
                keys.find_again(Record { bytes: &object[..end], seen: &within }, &mut ends, &mut again);
                keys.find(&object[..end], &mut seen);
                assert_eq!(seen.escaped, String::from_utf8_lossy(&object[..end]).contains("\\u"));
                assert_eq!(within, seen, "{level:?} {text}");
                again.escaped = seen.escaped;
                for seen in [&mut again, &mut seen] {
                    seen.places.sort_by_key(|place| (place.key, place.start));
                }
                assert_eq!(again, seen, "{level:?} {text}");
            }
        }
    }
    assert!(found > 10_000 && knew > 1_000, "{found} {knew}");
}

#[test]
fn values_of_interest() {
    let mut keys = Keys::default();
    keys.name("k");
    keys.limit_values(0, &[b"create".as_slice(), b"root"], Others::Noted);
    let mut dropping = keys.clone();
    dropping.all[0].others = Others::Dropped;
    let promising = |value: &str| {
        let (record, mut seen) = (format!("{{\"k\":{value},\"x\":1}}"), Sightings::default());
        dropping.find(record.as_bytes(), &mut seen);
        let kept = !seen.places().unwrap().is_empty();
        keys.find(record.as_bytes(), &mut seen);
        assert_eq!(seen.places().unwrap()[0].is_promising, kept);
        kept
    };
    for value in
        ["\"CREATE\"", "\"Root\"", "\"create user\"", "1", " \"x\"", "[\"x\"]", "\"\\n\"", "\"\u{212a}\""]
    {
        assert!(promising(value), "{value}");
    }
    for value in ["\"Delete\"", "\"Role\"", "\"Roo\"", "\"\"", "\"R]ot\""] {
        assert!(!promising(value), "{value}");
    }
    keys.limit_values(0, &[b"no"], Others::Dropped);
    assert!(keys.all[0].beginnings.is_none());
}

#[test]
fn what_stands_behind_a_record_says_nothing_of_it() {
    let mut few = Keys::default();
    few.name("k");
    few.limit_values(0, &[b"create"], Others::Noted);
    let mut many = few.clone();
    ["a", "b", "c", "d", "e", "f"].iter().for_each(|name| _ = many.name(name));
    assert!(few.many.is_none() && many.many.is_some());
    // What one word limits is found by its key where there are many, and by the word where there are few.
    let [mut few_words, mut many_words] = [few.clone(), many.clone()];
    few_words.limit_values(0, &[b"root"], Others::Dropped);
    many_words.limit_values(0, &[b"root"], Others::Dropped);
    let record = b"{\"k\":\"Root\"}";
    let behind = [&b",{\"x\":\""[..], b" , \"x\" : \""];
    let sets = [few, many, few_words, many_words];
    for (keys, behind) in sets.iter().flat_map(|keys| behind.map(|behind| (keys, behind))) {
        let bytes = [&record[..], behind, &[b'y'; 200]].concat();
        let (mut apart, mut within) = (Sightings::default(), Sightings::default());
        keys.find(record, &mut apart);
        let end = keys.find_in_first(&mut Extent::default(), &bytes, &mut within);
        assert_eq!((end, &within), (Some(record.len()), &apart));
    }
}

#[test]
fn keys_that_can_be_found() {
    let long = "x".repeat(300);
    for (name, expected) in [
        ("eventName", true),
        (&*long, true),
        ("", false),
        ("a/b", false),
        ("a\"b", false),
        ("a b", false),
        ("a.b", true),
        ("a/b.c", false),
        ("a.", false),
        ("é", false),
    ] {
        assert_eq!(Keys::can_find(&FieldPath::new(name)), expected, "{name}");
    }
    assert_eq!(values(&[&long], format!("{{\"{long}\":1}}").as_bytes()), Ok(vec![Raw::Literal(b"1")]));
}

#[test]
fn long_keys_are_found_wherever_blocks_end() {
    let longer = format!("{}.name", "x".repeat(100));
    let mut keys = Keys::default();
    keys.add(&FieldPath::new(&longer));
    let mut many = keys.clone();
    for path in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        many.add(&FieldPath::new(path));
    }
    assert!(keys.many.is_none() && many.many.is_some());
    let mut seen = Sightings::default();
    for before in 0..200 {
        let record = format!("{{\"p\":\"{}\",\"{longer}\":1}}", " ".repeat(before));
        for text in [record.clone(), record.replace(' ', "y")] {
            for keys in [&keys, &many] {
                keys.find(text.as_bytes(), &mut seen);
                assert_eq!(seen.places().unwrap().len(), 1, "{text}");
            }
        }
    }
}

#[test]
fn a_value_is_no_key_wherever_blocks_end() {
    let mut keys = Keys::default();
    ["eventName", "a", "b", "c", "type"].iter().for_each(|name| _ = keys.name(name));
    let mut longer = Keys::default();
    ["eventName", "eventSource", "eventType", "userAgent"].iter().for_each(|name| _ = longer.name(name));
    let mut seen = Sightings::default();
    for before in 0..200 {
        let behind = "y".repeat(150);
        let record = format!("{{\"p\":\"{}\",\"q\":[\"eventName\",\"{behind}\"]}}", "x".repeat(before));
        for keys in [&keys, &longer] {
            keys.find(record.as_bytes(), &mut seen);
            assert_eq!(seen.places().unwrap(), [], "{record}");
        }
    }
}

#[test]
fn the_only_value_of_interest_is_found_wherever_it_stands() {
    let mut seen = Sightings::default();
    for (value, word, expected) in [
        ("\"Root\"", "root", 1),
        ("  \"rOOT user\"", "root", 1),
        ("[\"a\",{\"b\":\"ROOT\"},\"root\"]", "root", 2),
        ("\"boot\"", "root", 0),
        ("\"roo\"", "root", 0),
        ("\" root\"", "root", 0),
        ("\"IAMUser\"", "iamuser", 1),
    ] {
        for before in 0..150 {
            for level in levels() {
                let mut keys = Keys::default();
                keys.name("type");
                keys.limit_values(0, &[word.as_bytes()], Others::Dropped);
                assert!(keys.all[0].value.is_some());
                let record = format!("{{\"x\":\"{}\",\"type\":{value}}}", "y".repeat(before));
                let bytes = format!("{record}{{\"a\":\"root\"}}").into_bytes();
                let window = Window { bytes: &bytes, end: record.len() };
                dispatch!(level, simd => keys.find_with(simd, None, window, &mut seen));
                let places = seen.places().unwrap();
                assert_eq!(places.len(), expected, "{level:?} {record}");
                let is_text = |place: &Place| matches!(place.value(record.as_bytes()), Raw::Text(text) if text.len() >= word.len());
                assert!(places.iter().all(is_text), "{level:?} {record}");
            }
        }
    }
}

#[test]
fn values_that_can_be_searched_for() {
    for (word, expected) in [
        ("root", true),
        ("kiosk", false),
        ("true", false),
        ("truest", true),
        ("nul", false),
        ("1234", false),
        ("abc", false),
    ] {
        let mut keys = Keys::default();
        keys.name("k");
        keys.limit_values(0, &[word.as_bytes()], Others::Dropped);
        assert_eq!(keys.all[0].value.is_some(), expected, "{word}");
        keys.limit_values(0, &[word.as_bytes()], Others::Noted);
        assert!(keys.all[0].value.is_none());
    }
    let lower =
        |c: char| c.to_lowercase().next().filter(|lower| lower.is_ascii() && c.to_lowercase().count() == 1);
    let odd = ('\u{80}'..=char::MAX).filter_map(lower);
    assert_eq!(odd.collect::<String>(), "k");
}
