//! What tests of a field mean.

use super::*;

#[test]
fn equality() {
    check(&[
        ("eventName: CreateUser", r#"{"eventName":"CreateUser"}"#, true),
        ("eventName: createuser", r#"{"eventName":"CREATEUSER"}"#, true),
        ("eventName|cased: createuser", r#"{"eventName":"CreateUser"}"#, false),
        ("eventName|cased: CreateUser", r#"{"eventName":"CreateUser"}"#, true),
        ("eventName: CreateUser", r#"{"eventName":"CreateUsers"}"#, false),
        ("eventName: CreateUser", r#"{"eventName":["x","CreateUser"]}"#, true),
        ("a: x", r#"{"a":[["y",["x"]]]}"#, true),
        ("eventName: [A, CreateUser]", r#"{"eventName":"CreateUser"}"#, true),
        ("eventName: CreateUser", r#"{"requestParameters":{"eventName":"CreateUser"}}"#, false),
        ("eventName: CreateUser", r#"{"eventName":"X","eventName":"CreateUser"}"#, true),
        ("eventName: X", r#"{"eventName":"X","eventName":"CreateUser"}"#, false),
        ("eventName: CreateUser", r#"{"eventNam\u0065":"\u0043reateUser"}"#, true),
        ("a: NO", r#"{"a":"No"}"#, true),
        ("a: No", r#"{"a":"no"}"#, true),
        ("a: 'true'", r#"{"a":true}"#, true),
        ("a: true", r#"{"a":"True"}"#, true),
        ("a: '22'", r#"{"a":22}"#, true),
        ("a: 22", r#"{"a":"22"}"#, true),
        ("a: 1.10", r#"{"a":1.10}"#, true),
        ("a: 1.10", r#"{"a":1.1}"#, false),
        ("a: 012345678901", r#"{"a":"012345678901"}"#, true),
        ("a: 2012-10-17", r#"{"a":"2012-10-17"}"#, true),
        ("a: ''", r#"{"a":""}"#, true),
        ("a: ''", r"{}", false),
        ("a: '${jndi}'", r#"{"a":"${jndi}"}"#, true),
        (r"a: 'C:\Windows'", r#"{"a":"c:\\windows"}"#, true),
        (r"a: '\*'", r#"{"a":"*"}"#, true),
        (r"a: '\*'", r#"{"a":"x"}"#, false),
        ("a: x", r#"{"a":{"b":"x"}}"#, false),
        ("a: '{\"b\":1}'", r#"{"a":{"b":1}}"#, false),
        ("a: é", r#"{"a":"É"}"#, true),
        ("a: k", "{\"a\":\"\u{212a}\"}", true),
    ]);
}

#[test]
fn wildcards_and_positions() {
    check(&[
        ("eventName: Create*", r#"{"eventName":"createuser"}"#, true),
        ("eventName: '*User'", r#"{"eventName":"CreateUser"}"#, true),
        ("eventName: Cr?ateUser", r#"{"eventName":"CreateUser"}"#, true),
        ("a|contains: needle", r#"{"a":"hayneedlehay"}"#, true),
        ("a|startswith: hay", r#"{"a":"Hayneedle"}"#, true),
        ("a|endswith: hay", r#"{"a":"hayx"}"#, false),
        ("a|contains: 'x*y'", r#"{"a":"__x--y__"}"#, true),
        ("a|contains|all: [x, y]", r#"{"a":["x","y"]}"#, true),
        ("a|contains|all: [x, y]", r#"{"a":["x","z"]}"#, false),
        ("a|all: [x, y]", r#"{"a":["x","y"]}"#, true),
        ("a|contains: '*'", r#"{"a":"****"}"#, true),
        ("a|contains: '*'", r#"{"a":""}"#, true),
        ("a|contains: '*'", r#"{"a":{}}"#, true),
        ("a|contains: '*'", r#"{"a":null}"#, false),
        ("a|contains: '*'", r"{}", false),
        (r#"a|contains: '"cidrIp":"0.0.0.0/0"'"#, r#"{"a":{"items":[{"cidrIp" : "0.0.0.0/0"}]}}"#, true),
        (r#"a|contains: '\"Effect\":\"Allow\"'"#, r#"{"a":{"policy":"{\"Effect\":\"Allow\"}"}}"#, true),
        ("a|contains: b", r#"{"a":[["x","abc"]]}"#, true),
        ("a: '[\"x\",*'", r#"{"a":["x","y"]}"#, true),
        ("a.b.c: x", r#"{"a":[{"b":[{"c":["y","x"]}]}]}"#, true),
    ]);
}

#[test]
fn absence() {
    check(&[
        ("a: null", r"{}", true),
        ("a: null", r#"{"a":null}"#, true),
        ("a: ~", r#"{"a":""}"#, false),
        ("a: null", r#"{"a":[]}"#, false),
        ("a: null", r#"{"a":["x",[null]]}"#, true),
        ("a: 'null'", r#"{"a":null}"#, false),
        ("a: [null, '']", r#"{"a":""}"#, true),
        ("a.b: null", r#"{"a":[{"b":1},{"b":null}]}"#, true),
        ("a|exists: true", r#"{"a":null}"#, false),
        ("a|exists: true", r#"{"a":""}"#, true),
        ("a|exists: 'false'", r"{}", true),
        ("a.b|exists: true", r#"{"a":[{"c":1},{"b":0}]}"#, true),
        ("eventName|exists: false", r#"{"x":{"eventName":"A"}}"#, true),
        ("eventName: null", r#"{"x":{"eventName":"A"}}"#, true),
    ]);
}

#[test]
fn other_modifiers() {
    check(&[
        ("a|re: '^Cr.*r$'", r#"{"a":"CreateUser"}"#, true),
        ("a|re: eate", r#"{"a":"CreateUser"}"#, true),
        ("a|re: create", r#"{"a":"CreateUser"}"#, false),
        ("a|re|i: create", r#"{"a":"CreateUser"}"#, true),
        ("a|re|s: 'a.b'", r#"{"a":"a\nb"}"#, true),
        ("a|re|m: '^b$'", r#"{"a":"a\nb\nc"}"#, true),
        (r#"a|re: '"b":\d+'"#, r#"{"a":{"b": 17}}"#, true),
        ("a|cidr: 10.0.0.0/8", r#"{"a":"10.1.2.3"}"#, true),
        ("a|cidr: 10.0.0.0/8", r#"{"a":"11.1.2.3"}"#, false),
        ("a|cidr: 10.0.0.0/8", r#"{"a":"AWS Internal"}"#, false),
        ("a|cidr: 225.0.0.0/8", r#"{"a":"225.178.039.250"}"#, false),
        ("a|cidr: '2001:db8::/32'", r#"{"a":"2001:db8::1"}"#, true),
        ("a|cidr: [10.0.0.0/8, 192.168.0.0/16]", r#"{"a":"192.168.7.7"}"#, true),
        ("a|lt: 14", r#"{"a":8}"#, true),
        ("a|lt: 14", r#"{"a":"8"}"#, true),
        ("a|lt: 14", r#"{"a":"x"}"#, false),
        ("a|lt: 14", r"{}", false),
        ("a|gte: '14'", r#"{"a":14.0}"#, true),
        ("a|gt: 9007199254740992", r#"{"a":9007199254740993}"#, true),
        ("a|neq: x", r#"{"a":"y"}"#, true),
        ("a|neq: [x, y]", r#"{"a":"y"}"#, false),
        ("a|contains|neq: x", r#"{"a":"axb"}"#, false),
        ("a|fieldref: b", r#"{"a":"X","b":"x"}"#, true),
        ("a|fieldref: b", r#"{"a":"x"}"#, false),
        ("a|fieldref|cased: b", r#"{"a":"X","b":"x"}"#, false),
        ("a|fieldref|endswith: b.c", r#"{"a":"arn/x","b":{"c":"x"}}"#, true),
        ("a|fieldref: b", r#"{"a":["p","q"],"b":["q","r"]}"#, true),
        ("a|base64: foo", r#"{"a":"Zm9v"}"#, true),
        ("a|base64offset|contains: foobar", r#"{"a":"eHhmb29iYXJ5"}"#, true),
        ("a|base64offset: foobar", r#"{"a":"eGZvb2Jhcnl5"}"#, true),
        ("a|base64offset: x", r#"{"a":"zzz"}"#, false),
        (r"a|fieldref: '\*'", r#"{"a":"x","*":"x"}"#, true),
        ("a|wide|base64offset|contains: foo", r#"{"a":"xZgBvAG8Ay"}"#, true),
        ("a|utf16le|base64: foo", r#"{"a":"ZgBvAG8A"}"#, true),
        ("a|utf16be|base64: foo", r#"{"a":"AGYAbwBv"}"#, true),
        ("a|utf16|base64: foo", r#"{"a":"//5mAG8AbwA="}"#, true),
        ("a|windash|contains: ' -f '", r#"{"a":"x /f y"}"#, true),
        ("a|windash|contains: ' -f '", "{\"a\":\"x \u{2014}f y\"}", true),
        ("a|windash|contains: 'a-f'", r#"{"a":"a/f"}"#, false),
        ("a|hour: 3", r#"{"a":"2023-07-10T03:42:36Z"}"#, true),
        ("a|hour|gte: 18", r#"{"a":"2023-07-10T03:42:36Z"}"#, false),
        ("a|week: 28", r#"{"a":"2023-07-10T03:42:36Z"}"#, true),
        ("a|day: 10", r#"{"a":"2023-07-09T23:42:36-02:00"}"#, true),
        ("a|minute: 42", r#"{"a":"no time"}"#, false),
        ("a|month: [6, 7]", r#"{"a":"2023-07-10T03:42:36Z"}"#, true),
        ("a|year: 2023", r#"{"a":"2023-07-10T03:42:36Z"}"#, true),
    ]);
}

#[test]
fn keywords() {
    let cases = [
        ("s: [needle]", r#"{"a":{"b":["x","a NEEDLE here"]}}"#, true),
        ("s: [needle]", r#"{"needle":"x"}"#, false),
        ("s: ['1234']", r#"{"a":91234}"#, true),
        ("s: ['true']", r#"{"a":true}"#, false),
        ("s: ['ne*le']", r#"{"a":"x needle y"}"#, true),
        ("s:\n  '|all': [x1y1, x2y2]", r#"{"a":"x1y1","b":"x2y2"}"#, true),
        ("s:\n  '|all': [x1y1, x2y2]", r#"{"a":"x1y1"}"#, false),
        ("s:\n  '|contains': [needle]", r#"{"a":"x needle y"}"#, true),
        ("s:\n  '|startswith': [needle]", r#"{"a":"needle y"}"#, true),
        ("s:\n  '|startswith': [needle]", r#"{"a":"x needle y"}"#, false),
        ("s:\n  '|endswith|cased': [needle]", r#"{"a":"x Needle"}"#, false),
        ("s: needle", r#"{"a":"n\u0065edle"}"#, true),
    ];
    for (selection, record, expected) in cases {
        let detections = detections(&[rule(1, &format!("{selection}\ncondition: s"))]);
        let hits = run(&detections, record, false);
        assert_eq!(hits, run(&detections, record, true), "{selection} on {record}");
        assert_eq!(matched(hits), expected, "{selection} on {record}");
    }
}

#[test]
fn fields_are_compared_with_each_other() {
    let many =
        |range: std::ops::Range<usize>| range.map(|i| format!("\"x{i}\"")).collect::<Vec<_>>().join(",");
    let cases = [
        ("a|fieldref: b", r#"{"a":["x","Y"],"b":["z","y"]}"#.to_owned(), 1),
        ("a|fieldref|cased: b", r#"{"a":["x","Y"],"b":["z","y"]}"#.to_owned(), 0),
        ("a|fieldref|startswith: b", r#"{"a":"abc","b":["bc","AB"]}"#.to_owned(), 1),
        ("a|fieldref|startswith: b", r#"{"a":"abc","b":["bc","c"]}"#.to_owned(), 0),
        ("a|fieldref|endswith: b", r#"{"a":"abc","b":["bc","a"]}"#.to_owned(), 1),
        ("a|fieldref|endswith: b", r#"{"a":"abc","b":["ab","a"]}"#.to_owned(), 0),
        ("a|fieldref|contains: b", r#"{"a":"abc","b":["B"]}"#.to_owned(), 1),
        ("a|fieldref|contains: b", r#"{"a":"abc"}"#.to_owned(), 0),
        (
            "a|fieldref|contains: b",
            format!(r#"{{"a":[{}],"b":[{}]}}"#, many(0..30_000), many(40_000..70_000)),
            0,
        ),
    ];
    for (item, record, expected) in cases {
        let detections = detections(&[rule(1, &format!("s: {{{item}}}\ncondition: s"))]);
        assert_eq!(run(&detections, &record, false).unwrap().len(), expected, "{item} on {record:.60}");
    }
}
