//! The fast way against the oracle: made-up rules over made-up records.

use proptest::prelude::*;

use super::*;

/// Keys and texts that collide with each other in every way that could fool the index.
const KEYS: [&str; 16] = [
    r#""accountId""#,
    r#""actor""#,
    r#""userName""#,
    r#""userIdentity.type""#,
    r#""b""#,
    r#""sourceIPAddress""#,
    r#""reason""#,
    r#""eventName""#,
    r#""eventSource""#,
    r#""eventNam\u0065""#,
    r#""requestParameters""#,
    r#""userIdentity""#,
    r#""type""#,
    r#""omitted""#,
    r#""a.b""#,
    r#""a""#,
];
const SCALARS: [&str; 29] = [
    r#""{\"a\":\"Root\",\"b\":22}""#,
    r#""%7B%22a%22%3A%22CreateUser%22%2C%22b%22%3Anull%7D""#,
    r#""{\"a\":{\"b\":\"keyword\"}""#,
    r#""[{\"\u0061\": \"createuser\"},{\"type\":\"{\\\"b\\\":\\\"Root\\\"}\"}]""#,
    r#""%5B%7B%22type%22:22""#,
    r#""{\"a\":\"\\ud83d keyword\",\"a\":\"x\"}""#,
    r#""{\"a\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}""#,
    r#""10.1.2.3""#,
    r#""eventName""#,
    r#""\"a\": 22""#,
    "false",
    r#""CreateUser""#,
    r#""createuser""#,
    r#""\u0043reateUser""#,
    r#""iam.amazonaws.com""#,
    r#""Root""#,
    r#""ROOT ""#,
    r#""a \"quoted\" CreateUser""#,
    r#""requestParameters too large""#,
    "\"\u{212a}eyword\"",
    r#""keyword""#,
    r#""\ud83d keyword""#,
    "null",
    "true",
    "-0",
    "22",
    "1.50",
    "123456789012345678901234567890",
    r#""""#,
];

fn json() -> impl Strategy<Value = String> {
    let scalar = prop::sample::select(&SCALARS[..]).prop_map(str::to_owned);
    scalar.prop_recursive(3, 24, 5, |inner| {
        let space = prop::sample::select(&["", " ", "\n\t"][..]);
        let member = (prop::sample::select(&KEYS[..]), space, inner.clone())
            .prop_map(|(key, space, value)| format!("{key}{space}:{space}{value}"));
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(|elements| format!("[{}]", elements.join(", "))),
            prop::collection::vec(member, 0..5).prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

/// Mostly records with both of the fields that the index looks at, as ordinary records have them.
fn record() -> impl Strategy<Value = String> {
    let member = (prop::sample::select(&KEYS[..]), json()).prop_map(|(key, value)| format!("{key}:{value}"));
    let names = prop::sample::select(&["CreateUser", "createUSER", "ListUsers", "Root", "keyword"][..]);
    let sources = prop::sample::select(&["iam.amazonaws.com", "IAM.amazonaws.com", "s3.amazonaws.com"][..]);
    let ordinary = (names, sources)
        .prop_map(|(name, source)| format!(r#""eventName":"{name}" , "eventSource": "{source}""#));
    let plain = prop::sample::select(
        &[
            r#""a":"Root""#,
            r#""requestParameters":{"a":"{\"b\":\"Root\"}","b":"%7B%22type%22%3A%22Createx%22%7D"}"#,
            r#""requestParameters":{"a":{"b":"{\"a\":[{\"b\":22},{\"b\":\"keyword\"}]}"},"userName":"root"}"#,
            r#""requestParameters":"{\"a\":{\"b\":\"Root\"}}""#,
            r#""responseElements":{"reason":"responseElements too large"}"#,
            r#""additionalEventData":{"omitted":"true"}"#,
            r#""userIdentity":{"type":"Root","accountId":22,"arn":"Createx"}"#,
            r#""actor":{"account":"22","type":"Root"}"#,
            r#""a":"keyword x""#,
            r#""userIdentity":{"type":"ROOT"}"#,
            r#""a":{"b":"Createx"}"#,
            r#""requestParameters":{"omitted":true}"#,
            r#""b":22"#,
            r#""b":null"#,
            r#""sourceIPAddress":"10.1.2.3""#,
            r#""userIdentity.type":"root""#,
            r#""a":{"b":{"eventName":"createuser"}}"#,
            r#""errorCode":"AccessDenied""#,
        ][..],
    );
    let plain =
        prop::collection::btree_set(plain, 0..4).prop_map(|set| set.into_iter().map(str::to_owned).collect());
    let wild = prop::collection::vec(member, 0..7);
    let parts = (prop::option::weighted(0.8, ordinary), prop_oneof![plain, wild]);
    let printed = prop::bool::weighted(0.2);
    (parts, printed).prop_map(|((ordinary, members), printed): ((Option<String>, Vec<String>), bool)| {
        let members: Vec<String> = ordinary.into_iter().chain(members).collect();
        let record = format!("{{{}}}", members.join(","));
        if printed { spread(&record) } else { record }
    })
}

/// The record with white space behind every mark, as a printer might write it.
fn spread(record: &str) -> String {
    let tokens = Tokens::new(record).map(|token| match token {
        Token::Mark(mark) => format!("{mark} \n "),
        Token::String(text) | Token::Literal(text) => text.to_owned(),
    });
    tokens.collect()
}

fn selection() -> impl Strategy<Value = String> {
    let field = prop::sample::select(
        &[
            "eventName",
            "eventSource",
            "userIdentity.type",
            "a",
            "a.b",
            "requestParameters.a",
            "requestParameters",
            "sourceIPAddress",
            "b",
            "type",
            "a.b.eventName",
            "requestParameters.a.b",
            "requestParameters.b.type",
            "requestParameters.a.b.a.b",
            "requestParameters.a.type.b",
            "actor.account",
            "actor.type",
            "actor.kind",
            "actor.mfa",
            "target.name",
        ][..],
    );
    let modifier = prop::sample::select(
        &[
            "",
            "|contains",
            "|startswith",
            "|endswith",
            "|re",
            "|exists",
            "|cased",
            "|lt",
            "|neq",
            "|contains|all",
            "|re|i",
            "|cidr",
            "|gte",
            "|fieldref",
            "|contains|neq",
        ][..],
    );
    let value = prop::sample::select(
        &[
            "CreateUser",
            "createuser",
            "iam.amazonaws.com",
            "Root",
            "keyword",
            "22",
            "-0",
            "Create*",
            "''",
            "~",
            "oot",
            "'22,1.50'",
            "',true,'",
            "'\"type\":\"Root\"'",
            "'\":true'",
        ][..],
    );
    let item = (field, modifier, prop::collection::vec(value, 1..3)).prop_map(|(field, modifier, values)| {
        let values = match modifier {
            "|exists" => ["true", "false"][values.len() % 2].to_owned(),
            "|lt" | "|gte" => "30".to_owned(),
            "|cidr" => ["10.0.0.0/8", "10.1.2.0/24"][values.len() % 2].to_owned(),
            "|fieldref" => ["a", "requestParameters.a", "requestParameters.a.b", "target.name", "actor.mfa"]
                [values.iter().map(|value| value.len()).sum::<usize>() % 5]
                .to_owned(),
            "" | "|neq" | "|cased" => format!("[{}]", values.join(", ")),
            _ => format!("[{}]", values.join(", ").replace('~', "x").replace("''", "x")),
        };
        format!("{field}{modifier}: {values}")
    });
    let items = prop::collection::btree_map("[a-c]", item, 1..3);
    prop_oneof![
        4 => items.prop_map(|items| {
            let mut lines: Vec<String> = items.into_values().collect();
            lines.sort();
            lines.dedup_by_key(|line| line.split(':').next().map(str::to_owned));
            format!("{{{}}}", lines.join(", "))
        }),
        1 => Just("[keyword, CreateUser]".to_owned()),
        1 => prop::sample::select(&[
            "{'a[any]': {b: Root, type|exists: true}}",
            "{'requestParameters.a[none].b|contains': oot}",
            "{'requestParameters.a.b[all]': {s: {a: 22}, t: [keyword], condition: not s or t}}",
            "{'a[all_or_empty].eventName': CreateUser, eventSource: iam.amazonaws.com}",
        ][..]).prop_map(str::to_owned),
    ]
}

fn condition() -> impl Strategy<Value = &'static str> {
    prop::sample::select(
        &[
            "s",
            "not s",
            "s and t",
            "s or t",
            "s and not t",
            "1 of them",
            "all of them",
            "2 of them",
            "not (s and t)",
        ][..],
    )
}

/// Cases of the property below; `PROPTEST_CASES` asks for more.
fn cases() -> u32 {
    ProptestConfig::default().cases.max(3_000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_fast_way_equals_the_oracle(
        rules in prop::collection::vec((selection(), selection(), condition()), 1..9),
        records in prop::collection::vec(record(), 1..8),
    ) {
        let rules: Vec<String> = rules
            .iter()
            .enumerate()
            .map(|(i, (s, t, condition))| rule(i, &format!("s: {s}\nt: {t}\ncondition: {condition}")) + "sigma-version: 3\n")
            .collect();
        let detections = detections(&rules);
        // What is remembered of one record must be right for the next.
        let mut scratch = Scratch::default();
        for record in records.iter().chain(&records) {
            let fast = run_with(&mut scratch, &detections, record, false);
            prop_assert_eq!(fast, run(&detections, record, true), "{} {:?}", record, rules);
        }
    }
}
