use super::*;
use crate::sigma::compile;

const HEAD: &str = "title: T\nid: 00000000-0000-4000-8000-000000000001\nlevel: low\nlogsource: {product: aws, service: cloudtrail}\ndetection:\n";

/// Lines, and names of lints.
type Told<'t> = &'t [(usize, &'t str)];

/// Line and name of each finding.
fn found(text: &str) -> Vec<(usize, String)> {
    let file = RuleFile { name: "x".into(), text: text.to_owned(), named: false };
    let compiled = compile(std::slice::from_ref(&file));
    assert!(compiled.problems.is_empty(), "{:?}", compiled.problems);
    let (rules, filters) = (&compiled.rules, &compiled.filters);
    let findings = lint(Subject { rules, filters, aside: &[], files: &[file] });
    findings.into_iter().map(|finding| (finding.place.line, finding.lint)).collect()
}

#[test]
fn what_looks_wrong_is_told_with_its_line() {
    let cases: [(&str, Told<'_>); 12] = [
        ("  s: {eventSource: iam.amazonaws.com, eventName: CreateUser}\n  condition: s\n", &[]),
        ("  s:\n    eventName: A\n    eventname: B\n  condition: s\n", &[(8, "unknown_field")]),
        (
            "  s:\n    eventSource: iam.amazonaws.com\n    eventName:\n      - CreateUser\n      - CreateUsr\n  condition: s\n",
            &[(10, "unknown_call")],
        ),
        (
            "  s:\n    eventSource: iam.amazonaws.com\n  t:\n    eventName: StopLogging\n  condition: s and t\n",
            &[(9, "unknown_call")],
        ),
        (
            "  s:\n    eventSource: iam.amazonaws.com\n  t:\n    eventName: StopLogging\n  condition: s and not t\n",
            &[],
        ),
        (
            "  s:\n    eventSource: [iam.amazonaws.com, cloudtrail.amazonaws.com]\n    eventName: StopLogging\n  condition: s\n",
            &[],
        ),
        ("  s:\n    - eventSource: iam.amazonaws.com\n    - eventName: StopLogging\n  condition: s\n", &[]),
        (
            "  s:\n    - eventSource: iam.amazonaws.com\n      eventName: StopLogging\n    - eventName: A\n  condition: s\n",
            &[(8, "unknown_call")],
        ),
        (
            "  s: {eventSource: iam.amazon.com, eventName: CreateUser}\n  condition: s\n",
            &[(6, "unknown_source")],
        ),
        ("  s: {requestParameters.x: null}\n  condition: s\n", &[(1, "looks_at_everything")]),
        (
            "  # rsigma-disable-next-line unknown_field\n  s: {eventName: A, eventname: B}\n  condition: s\n",
            &[],
        ),
        ("  # rsigma-disable unknown_field\n  s: {eventName: A, eventname: B}\n  condition: s\n", &[]),
    ];
    for (detection, expected) in cases {
        let expected: Vec<_> = expected.iter().map(|(line, lint)| (*line, (*lint).to_owned())).collect();
        assert_eq!(found(&format!("{HEAD}{detection}")), expected, "{detection}");
    }
}

#[test]
fn the_specification_is_asked_of_each_document() {
    let good = format!("{HEAD}  s: {{eventName: A}}\n  condition: s\n");
    let bad = good.replace("0001", "0002").replace("level: low\n", "level: low\ndate: yesterday\n");
    let lines = good.lines().count();
    assert_eq!(found(&format!("{good}---\n{bad}")), [(lines + 5, "invalid_date".to_owned())]);
    let filter = "title: F\nlogsource: {product: aws, service: cloudtrail}\nfilter: {rules: any, s: {eventName: A}, condition: not s}\n";
    assert_eq!(found(&format!("{good}--- # what is ours\n{filter}")), []);
}

#[test]
fn members_that_no_call_has_are_told() {
    let about = |name: &str, rest: &str| {
        format!("{HEAD}  s:\n    eventSource: iam.amazonaws.com\n    eventName: {name}\n{rest}")
    };
    let cases: [(&str, &str, Option<usize>); 12] = [
        ("CreateUser", "    requestParameters.userName: x\n  condition: s\n", None),
        ("CreateUser", "    requestParameters.usrName: x\n  condition: s\n", Some(9)),
        ("CreateUser", "    requestParameters.policyArn: x\n  condition: s\n", Some(9)),
        ("CreateUser", "    responseElements.usr.arn: x\n  condition: s\n", None),
        ("CreateAccessKey", "    responseElements.accesskey.userName: x\n  condition: s\n", Some(9)),
        ("[CreateUser, AttachUserPolicy]", "    requestParameters.policyArn: x\n  condition: s\n", None),
        ("[CreateUser, NewCall]", "    requestParameters.policyArn: x\n  condition: s\n", None),
        ("CreateUser", "  f:\n    requestParameters.usrName: x\n  condition: s and not f\n", Some(10)),
        (
            "CreateUser",
            "  f:\n    - requestParameters.usrName: x\n    - a.b: y\n  condition: s and f\n",
            None,
        ),
        (
            "CreateUser",
            "  f: {eventName: AttachUserPolicy, requestParameters.policyArn: x}\n  condition: s and not f\n",
            None,
        ),
        ("CreateUser", "    userAgent|fieldref: requestParameters.usrName\n  condition: s\n", Some(9)),
        ("CreateUser", "  t:\n    requestParameters.usrName: x\n  condition: s or t\n", None),
    ];
    for (name, rest, line) in cases {
        let mut expected: Vec<_> = line.map(|line| (line, "unknown_member".to_owned())).into_iter().collect();
        if rest.contains("a.b") {
            expected = vec![(10, "unknown_member".to_owned()), (11, "unknown_field".to_owned())];
        }
        assert_eq!(found(&about(name, rest)), expected, "{name}: {rest}");
    }
}

#[test]
fn filters_are_looked_at_where_they_stand() {
    const RULE: &str =
        "  s: {eventSource: iam.amazonaws.com, eventName: [CreateUser, DeleteUser]}\n  condition: s\n";
    let filter = |rules: &str, selection: &str| {
        format!(
            "title: F\nid: 00000000-0000-4000-8000-000000000003\nlogsource: {{product: aws, service: cloudtrail}}\nfilter:\n  rules: {rules}\n  f:\n    {selection}\n  condition: not f\n"
        )
    };
    let rule = format!("{HEAD}{RULE}");
    let retired = rule.replace("level: low", "status: deprecated");
    let first = rule.lines().count() + 1;
    let cases: [(&str, &str, &str, Told<'_>); 13] = [
        (&rule, "any", "userIdentity.arn: x", &[]),
        (&rule, "any", "userIdentity.ARN: x", &[(7, "unknown_field")]),
        (&rule, "[T]", "eventname: CreateUser", &[(7, "unknown_field")]),
        (&rule, "any", "eventName: createuser", &[]),
        (&rule, "any", "eventName: CreateUsr", &[(7, "selects_nothing")]),
        (&rule, "any", "eventSource: s3.amazonaws.com", &[(7, "selects_nothing")]),
        (&rule, "any", "eventSource: iam.amazon.com", &[(7, "selects_nothing"), (7, "unknown_source")]),
        (&rule, "any", "requestParameters.usrName: x", &[(7, "unknown_member")]),
        (&rule, "any", "- requestParameters.usrName: x", &[(7, "unknown_member")]),
        (&rule, "any", "requestParameters.tags: x", &[]),
        (&retired, "[T]", "userIdentity.arn: x", &[(5, "narrows_nothing")]),
        (&rule, "any", "# rsigma-disable-next-line\n    eventname: A", &[]),
        (&rule.replace("eventName: [CreateUser, DeleteUser]", "awsRegion: x"), "any", "eventName: A", &[]),
    ];
    for (rule, rules, selection, expected) in cases {
        let expected: Vec<_> =
            expected.iter().map(|(line, lint)| (first + line, (*lint).to_owned())).collect();
        let text = format!("{rule}---\n{}", filter(rules, selection));
        assert_eq!(found(&text), expected, "{rules}: {selection}");
    }
    let leveled = format!("{rule}---\n{}level: low\n", filter("any", "userIdentity.arn: x"));
    assert_eq!(found(&leveled), [(first + 9, "filter_has_level".to_owned())]);
}
