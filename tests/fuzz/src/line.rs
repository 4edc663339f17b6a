//! decode → split → detect over any bytes: nothing panics, the whole way equals the stream, what is seen on the
//! way equals what is looked for afterwards, and the fast way finds what the oracle finds.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use trailhound::decode::{Decoded, Decoder, Item, Limits, Source};
use trailhound::detect::{Detections, Hit, Scratch, Status};
use trailhound::event::{Escaped, Place, Sightings};
use trailhound::rulebook::{Pack, Rulebook};
use trailhound::sigma::{RuleFile, compile};

const LIMITS: Limits = Limits { inflated: 1 << 20, record: 2 << 10 };

/// The pack, and rules of every other form.
static DETECTIONS: LazyLock<Detections> = LazyLock::new(|| {
    let forms = [
        "s: {userIdentity.type: Root}\ncondition: s",
        "s: {userAgent|contains: kali}\ncondition: s",
        "s: {userAgent|re: '^[a-z]+/[0-9.]+$'}\ncondition: s",
        "s: {sourceIPAddress|cidr: 10.0.0.0/8}\ncondition: s",
        "s: {eventSource: iam.amazonaws.com}\nf: {eventName|startswith: Get}\ncondition: s and not f",
        "s: {errorCode: null}\nt: {a.b|exists: true}\ncondition: s and t",
        "s: {eventName: AssumeRole}\nt: {errorCode: AccessDenied}\ncondition: s or t",
        "s: {requestParameters|contains: '\"k\":true'}\ncondition: s",
        "s: {requestParameters.userName|fieldref: userIdentity.userName}\ncondition: s",
        "s: {requestParameters.n|gte: 10}\ncondition: s",
        "s: [needle]\ncondition: s",
        "s: {a: '*'}\nt: {a|contains: '*'}\ncondition: s and not t",
        "s: {eventName|cased: CreateUser}\nt: {b: ''}\ncondition: 1 of them",
    ];
    let files = forms.iter().enumerate().map(|(number, form)| {
        let form: String = form.lines().map(|line| format!("  {line}\n")).collect();
        let text = format!(
            "title: R{number}\nid: r{number}\nlogsource: {{product: aws, service: cloudtrail}}\ndetection:\n{form}"
        );
        RuleFile { name: format!("{number}.yml").into(), text, named: false }
    });
    let compiled = compile(&files.collect::<Vec<_>>());
    assert!(compiled.problems.is_empty(), "{:?}", compiled.problems);
    Detections::new(Rulebook::open(&[], Pack::Runs, None).rules.into_iter().chain(compiled.rules).collect())
});

fuzz_target!(|bytes: &[u8]| {
    let (mut records, mut scratch) = (Vec::new(), Scratch::default());
    let whole = decode(Source::Whole(bytes), &mut |item| {
        if let Item::Record(record) = &item {
            let mut apart = Sightings::default();
            DETECTIONS.keys().find(record.bytes, &mut apart);
            assert_eq!(sorted(record.seen), sorted(&apart));
            let (mut fast, mut plain) = (Vec::new(), Vec::new());
            let seen = DETECTIONS.detect(*record, &mut scratch, &mut |hit| fast.push(told(&hit)));
            let seen_plainly =
                DETECTIONS.detect_plainly(record.bytes, &mut scratch, &mut |hit| plain.push(told(&hit)));
            assert_eq!(fast, plain);
            assert!(seen.is_ok() || seen_plainly.is_err());
        }
        records.push(shown(&item));
    });
    let mut streamed = Vec::new();
    let stream = decode(Source::Stream(&mut &*bytes), &mut |item| streamed.push(shown(&item)));
    assert_eq!(records, streamed);
    assert_eq!((whole.compressed, whole.inflated), (stream.compressed, stream.inflated));
    assert_eq!(format!("{:?}", whole.unreadable), format!("{:?}", stream.unreadable));
});

fn decode(source: Source<'_>, visit: &mut dyn FnMut(Item<'_>)) -> Decoded {
    Decoder::new(LIMITS).decode(source, DETECTIONS.keys(), visit)
}

fn sorted(seen: &Sightings) -> Result<Vec<Place>, Escaped> {
    let mut places = seen.places()?.to_vec();
    places.sort_unstable();
    Ok(places)
}

fn told(hit: &Hit<'_>) -> (String, Status) {
    (hit.rule.id.clone(), hit.status)
}

fn shown(item: &Item<'_>) -> Result<Vec<u8>, &'static str> {
    match item {
        Item::Record(record) => Ok(record.bytes.to_vec()),
        Item::Undecodable(why) => Err(why.reason()),
    }
}
