//! Tests of expressions: what they give, what is refused, and that none of them can hold a pass up or end the process.

use serde_json::{Value, json};

use super::{Expression, Fault, STEPS_MAX};

fn parse(source: &str) -> Expression {
    Expression::parse(source, &["object"]).unwrap_or_else(|problem| panic!("{source}: {problem:?}"))
}

fn evaluate(source: &str, object: &Value) -> Result<bool, Fault> {
    parse(source).evaluate(&[object])
}

fn refusal(source: &str) -> String {
    match Expression::parse(source, &["object"]) {
        Ok(expression) => panic!("{} was accepted", expression.source()),
        Err(problem) => format!("{} ({})", problem.message, problem.hint),
    }
}

fn pod() -> Value {
    json!({
        "metadata": {"name": "web-1", "labels": {"app": "web", "tier": "front"}, "generation": 3},
        "spec": {"replicas": 3, "share": 0.5, "paused": false, "image": "registry.example/web:1.4.2", "nothing": null},
        "status": {
            "observedGeneration": 3,
            "conditions": [
                {"type": "Ready", "status": "True", "reason": "AllGood"},
                {"type": "Stalled", "status": "False"},
            ],
        },
    })
}

#[test]
fn expressions_give_what_cel_says() {
    let object = pod();
    for (source, expected) in [
        ("object.spec.replicas == 3", true),
        ("object.spec.replicas == 3.0", true),
        ("object.spec.replicas + 1 > 3", true),
        ("object.spec.replicas * 2 - 1 == 5 && 7 / 2 == 3 && 7 % 4 == 3 && -object.spec.replicas == -3", true),
        ("object.spec.share * 2.0 == 1.0", true),
        ("object.spec.replicas == \"3\"", false),
        ("object.spec.nothing == null", true),
        ("object.spec.replicas != null", true),
        ("object.status.conditions.exists(c, c.type == \"Ready\" && c.status == \"True\")", true),
        ("object.status.conditions.all(c, c.status == \"True\")", false),
        ("object.status.conditions.exists_one(c, c.status == \"True\")", true),
        ("object.status.conditions.filter(c, c.status == 'True').map(c, c.type) == ['Ready']", true),
        ("object.status.conditions.map(c, c.status == 'True', c.type) == ['Ready']", true),
        ("object.status.conditions.map(c, has(c.reason)) == [true, false]", true),
        ("size(object.status.conditions) == 2 && object.status.conditions.size() == 2", true),
        ("size(object.metadata.labels) == 2 && size('über') == 4", true),
        ("object.metadata.labels.exists(k, k == 'tier')", true),
        ("'app' in object.metadata.labels && !('web' in object.metadata.labels)", true),
        ("object.metadata.name in ['web-1', 'web-2']", true),
        ("object.metadata.labels['app'] == 'web'", true),
        ("object.status.conditions[0].type == 'Ready'", true),
        ("object.metadata.labels == {'tier': 'front', 'app': 'web'}", true),
        ("has(object.status) && !has(object.status.phase)", true),
        ("object.status.observedGeneration >= object.metadata.generation ? true : false", true),
        ("object.metadata.name.startsWith('web-') && object.spec.image.endsWith(':1.4.2')", true),
        ("object.spec.image.contains('/web:') && object.spec.image.matches('^[a-z.]+/web:[0-9.]+$')", true),
        ("matches(object.metadata.name, '^x')", false),
        ("' A '.trim().lowerAscii() == 'a' && 'b'.upperAscii() == 'B'", true),
        ("int('3') == object.spec.replicas && int(3.9) == 3 && double(1) < 1.5 && string(3) == '3'", true),
        ("'a' + 'b' == 'ab' && [1] + [2] == [1, 2] && 'a' < 'b' && 1 < 1.5 && !(2 <= 1.5)", true),
        ("-9223372036854775808 < 0 && 0x1F == 31 && 1e3 == 1000.0 && .5 == 0.5 && --3 == 3 && !!true", true),
        ("'\\u00fc\\x41\\101\\n' == 'üAA\\n' && r'\\d' == '\\\\d' && \"\"\"a\"b\"\"\" == 'a\"b'", true),
        ("true // a remark\n && true", true),
        ("1 + 2 * 3 == 7 && (1 + 2) * 3 == 9 && 10 - 3 - 2 == 5 && false || true", true),
        ("false ? false : true ? true : false", true),
        ("[1, 2,].map(x, [1].map(y, x + y)) == [[2], [3]] && {'a': 1,}.a == 1", true),
        // The side that decides, decides: what has no value does not matter then.
        ("object.status.phase == 'Ready' || true", true),
        ("true || object.status.phase == 'Ready'", true),
        ("object.status.phase == 'Ready' && false", false),
        ("[1, 'a'].exists(x, x > 2 || x == 1)", true),
        ("['a', 1].all(x, x > 2)", false),
    ] {
        assert_eq!(evaluate(source, &object), Ok(expected), "{source}");
    }
}

#[test]
fn what_has_no_value_says_why() {
    let object = pod();
    for (source, expected) in [
        ("object.status.phase == 'Ready'", "no such field `phase`; ask with has() whether it is there"),
        ("object.metadata.labels['x'] == ''", "no such field `x`; ask with has() whether it is there"),
        ("object.spec.replicas", "it gives a whole number, not true or false"),
        ("object.spec.replicas > 'a'", "`>` does not take a whole number and text"),
        ("object.spec.replicas && true", "`&&` does not take a whole number"),
        ("object.spec.replicas + 1.5 > 1.0", "`+` does not take a whole number and a number"),
        ("object.spec.replicas.x == 1", "`.` does not take a whole number"),
        ("object.status.conditions[2].type == 'x'", "index 2 is out of bounds"),
        ("object.status.conditions[-1].type == 'x'", "index -1 is out of bounds"),
        ("9223372036854775807 + object.spec.replicas > 0", "`+` overflows or divides by zero"),
        ("1 / (object.spec.replicas - 3) > 0", "`/` overflows or divides by zero"),
        ("int(object.metadata.name) > 0", "`int` of text that is no number"),
        ("object.spec.nothing > 1", "`>` does not take null and a whole number"),
        ("null in object.spec", "`in` does not take null and a map"),
        ("object.spec.all(x, x)", "`a loop` does not take text"),
        (
            "object.status.conditions.all(c, c.reason == 'AllGood')",
            "no such field `reason`; ask with has() whether it is there",
        ),
    ] {
        let fault = evaluate(source, &object).expect_err(source);
        assert_eq!(fault.to_string(), expected, "{source}");
    }
}

#[test]
fn what_cannot_be_used_is_refused_when_it_is_read() {
    for (source, wanted) in [
        ("", "is empty"),
        ("object.spec.replicas = 3", "line 1, column 22: `=` is no operator (write ==)"),
        ("object.(", "line 1, column 8: the name of a field is missing"),
        ("object.a ==\n  object.", "line 2, column 10: the name of a field is missing"),
        ("object.a object.b", "line 1, column 10: an operator is missing before this"),
        ("(object.a", "line 1, column 10: `)` is missing"),
        ("object.a == 'x", "line 1, column 13: text that is not closed"),
        ("object.a == '\\q'", "an unknown escape"),
        ("object.a == 1x", "a number that cannot be read"),
        ("object.a == 9223372036854775808", "a number that is too large"),
        ("object.a == #", "a character that is no part of an expression"),
        ("objct.spec.replicas == 3", "unknown name `objct` (known is `object`)"),
        ("[1].all(x, y == 1)", "unknown name `y`"),
        ("[1].all(x, true) && x == 1", "unknown name `x`"),
        ("timestamp('2026-01-01T00:00:00Z') > object.x", "unknown function `timestamp` of 1 values (known are has,"),
        ("object.name.replace('a', 'b') == ''", "unknown function `replace`"),
        ("object.name.matches(object.pattern)", "the pattern of `matches` is computed"),
        ("object.name.matches('(')", "is no regular expression"),
        ("object.name.matches('((a{200}){200}){200}')", "the pattern of `matches` is too large"),
        ("object.name.matches('(\\\\w{99}){99}')", "the pattern of `matches` is too large"),
        ("b'abc' == b'abc'", "bytes are not in expressions here"),
        ("3u == 3u", "unsigned numbers are not in expressions here (leave the `u` out)"),
        ("object{field: 1} == 1", "an operator is missing before this"),
        ("[1].all(x, [1].all(y, [1].all(z, true)))", "more than 2 loops within each other"),
        ("object.?spec", "the name of a field is missing"),
        ("has(object)", "has() asks for a field"),
        ("object.has(object.a)", "has() asks for a field"),
    ] {
        let said = refusal(source);
        assert!(said.contains(wanted), "{source}: {said}");
    }
}

#[test]
fn equal_sources_are_equal_expressions() {
    assert_eq!(parse("object.a == 1"), parse("object.a == 1"));
    assert_ne!(parse("object.a == 1"), parse("object.a == 2"));
}

/// Sources that nest as deep as their length allows, in every way that the grammar has.
fn deep() -> Vec<String> {
    let around = |open: &str, inside: &str, close: &str, count: usize| {
        format!("{}{inside}{}", open.repeat(count), close.repeat(count))
    };
    let mut sources = Vec::new();
    for count in [5, 11, 12, 13, 30, 60, 100, 150, 159, 160, 250, 500, 1000, 5000] {
        sources.extend([
            around("(", "true", ")", count),
            around("[", "1", "]", count),
            around("!", "true", "", count),
            around("-", "1", "", count),
            around("", "1", "+1", count),
            around("", "true", "&&true", count),
            around("", "true", "||true", count),
            around("true?", "true", ":true", count),
            around("", "true?true:true", "?true:true", count),
            around("true?true:", "true", "", count),
            around("", "object", ".a", count),
            around("", "object", "[0]", count),
            around("", "object", ".trim()", count),
            around("size(", "object", ")", count),
            around("{1:", "1", "}", count),
            around("[1].all(x,", "true", ")", count),
            around("[1].map(x,", "1", ")", count),
            around("", "[1]", ".map(x,x)", count),
            around("\")\"+(", "'a'", ")", count),
            around("\")\"==(", "'a'", ")", count),
            around("(", "", "", count),
            around("has(", "object.a", ")", count),
            around("", "1", "==1", count),
            around("", "1", " in [1]", count),
            around("a", "", "", count),
            around("\"", "", "", count),
            around("9", "", "", count),
            around("`", "", "", count),
            around("a.b(", "1", ")", count),
            around("a{b:", "1", "}", count),
            around("<", "", "", count),
            around("? ", "", ":", count),
            around("'", "ä", "", count),
            around("\\u0000", "", "\u{0}", count),
        ]);
    }
    sources
}

/// Runs `work` on a stack of so many bytes. What overflows it ends the process, and with it the test.
fn on_a_stack_of(bytes: usize, work: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(bytes).spawn(work).unwrap().join().unwrap();
}

#[test]
fn no_expression_however_deep_overflows_a_quarter_of_the_stack_of_a_worker() {
    on_a_stack_of(512 << 10, || {
        let object = json!({"a": {"a": [[0], "text"]}});
        let mut accepted = 0;
        for source in deep() {
            if let Ok(expression) = Expression::parse(&source, &["object"]) {
                accepted += 1;
                let _ = expression.clone().evaluate(&[&object]);
            }
        }
        assert!(accepted > 100, "only {accepted} were accepted: the bounds are tested by none");
    });
}

#[test]
fn deep_objects_are_compared_without_overflowing() {
    let mut object = json!(1);
    for _ in 0..120 {
        object = json!({ "a": [object] });
    }
    let object = json!({"one": object.clone(), "two": object});
    let source = "object.one == object.two && [[[object.one]]] == [[[object.two]]]";
    let expression = parse(source);
    on_a_stack_of(1 << 20, move || assert_eq!(expression.evaluate(&[&object]), Ok(true)));
}

/// Expressions that try to run for long, over an object that is as large as etcd takes.
const HOSTILE: &[&str] = &[
    "object.list.all(x, object.list.all(y, x == y || x != y))",
    "object.list.all(x, object.list.exists(y, x + y == 'no'))",
    "object.list.map(x, object.list).map(l, size(l)).all(n, n > 0)",
    "object.list.map(x, object.list.map(y, x + y)).map(l, size(l)).all(n, n > 0)",
    "(object.list + object.list + object.list + object.list).all(x, (object.list + object.list).all(y, true))",
    "object.list.all(x, object == object)",
    "[object, object] == [object, object] && [object, object] == [object, object]",
    "object.list.all(x, x in object.list)",
    "object.list.all(x, object.text.contains(x + 'no') || true)",
    "object.list.all(x, object.text.matches('(a|a|a|a)*b$') || true)",
    "object.list.map(x, object.text + object.text).all(t, size(t) > 0)",
    "['x'].map(a, object.text + object.text).map(b, b + b).map(c, c + c).map(d, d + d).map(e, e + e + e).size() == 1",
    "[0].map(a, [a, a, a, a]).map(b, [b, b, b, b]).map(c, [c, c, c, c]).map(d, [d, d, d, d]).map(e, [e, e, e, e])\
     .map(f, [f, f, f, f]).map(g, [g, g, g, g]).map(h, [h, h, h, h]).all(x, x == x)",
    "object.list.map(x, [x, x]).map(x, [x, x]).map(x, [x, x]).map(x, [x, x]) == object.list.map(x, [x])",
    "object.map.all(k, object.map.all(l, object.map[k] == object.map[l] || true))",
    "object.list.all(x, object.text.lowerAscii().upperAscii().trim() != x)",
];

fn large() -> Value {
    let list: Vec<String> = (0..20_000).map(|index| format!("item number {index:08}")).collect();
    let map: serde_json::Map<String, Value> = (0..5_000).map(|index| (format!("key-{index}"), json!(index))).collect();
    json!({"list": list, "map": map, "text": "a".repeat(200_000)})
}

#[test]
fn hostile_expressions_end_within_their_steps() {
    let object = large();
    for source in HOSTILE {
        let expression = parse(source);
        let steps = expression.steps(&[&object]);
        // The step that is one too many may have counted all of a text or a list at once, without looking at it.
        assert!(steps > STEPS_MAX, "{source}: {steps} steps were enough, so it tests nothing");
        assert_eq!(expression.evaluate(&[&object]), Err(Fault::TooLong), "{source}");
    }
}

#[test]
fn too_long_is_never_taken_for_an_answer() {
    let object = large();
    let endless = "object.list.all(x, object.list.all(y, true))";
    for source in
        [format!("{endless} || true"), format!("true && !({endless})"), format!("[1].exists(z, {endless} || true)")]
    {
        // The last one nests a third loop, and is refused.
        if let Ok(expression) = Expression::parse(&source, &["object"]) {
            assert_eq!(expression.evaluate(&[&object]), Err(Fault::TooLong), "{source}");
        }
    }
}

#[test]
fn ordinary_rules_are_far_from_the_limit() {
    let conditions: Vec<Value> =
        (0..50).map(|index| json!({"type": format!("Condition{index}"), "status": "True"})).collect();
    let object = json!({"metadata": {"generation": 4}, "status": {"observedGeneration": 4, "conditions": conditions}});
    let source = "object.status.observedGeneration == object.metadata.generation && \
                  object.status.conditions.all(c, c.type != 'Stalled' || c.status == 'False')";
    let steps = parse(source).steps(&[&object]);
    assert!(steps < STEPS_MAX / 50, "{steps}");
    assert_eq!(evaluate(source, &object), Ok(true));
}
