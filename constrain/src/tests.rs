//! The crate by itself: what grammars allow, and what is refused.

use super::*;

/// A vocabulary of bytes and of some words of several; token 0 ends, token 1 adds nothing.
fn vocabulary() -> Vocabulary {
    let mut pieces = vec![b"</s>".to_vec(), Vec::new()];
    pieces.extend((0..=255u8).map(|byte| vec![byte]));
    let words = [
        "{\"",
        "\":",
        "\",",
        "\"}",
        "},",
        "name",
        "age",
        "true",
        "false",
        "null",
        " ",
        "  ",
        "\n",
        "12",
        "ab",
        "abc",
        "\u{e9}",
        "\u{1f642}",
    ];
    pieces.extend(words.iter().map(|word| word.as_bytes().to_vec()));
    // The same bytes as another token.
    pieces.push(b"a".to_vec());
    Vocabulary::new(pieces, &[0]).expect("a vocabulary")
}

/// Whether the grammar takes exactly this text, byte by byte.
fn takes(constraint: &mut Constraint, text: &str) -> bool {
    constraint.restart();
    for byte in text.bytes() {
        if constraint.agreeing(&[u32::from(byte) + 2]) == 0 {
            return false;
        }
        constraint.commit(u32::from(byte) + 2).expect("a token that agrees is taken");
    }
    let mut mask = vec![0; 9];
    constraint.mask(&mut mask).expect("a mask");
    mask[0] & 1 == 1
}

fn compile(grammar: Grammar) -> Result<Constraint, Refused> {
    vocabulary().compile(grammar)
}

fn check(grammar: Grammar, yes: &[&str], no: &[&str]) {
    let mut constraint = compile(grammar.clone()).expect("a grammar");
    for text in yes {
        assert!(takes(&mut constraint, text), "{text:?} is of {grammar:?}");
    }
    for text in no {
        assert!(!takes(&mut constraint, text), "{text:?} is not of {grammar:?}");
    }
}

#[test]
fn gbnf_means_what_llama_cpp_s_means() {
    let check = |text: &str, yes: &[&str], no: &[&str]| check(Grammar::Grammar(text.into()), yes, no);
    check("root ::= \"yes\" | \"no\"", &["yes", "no"], &["", "ye", "yesno", "y", "nope"]);
    // What a lexer would cut wrongly.
    check("root ::= \"a\" \"b\" | \"ab\" \"c\"", &["ab", "abc"], &["a", "abb"]);
    check("root ::= [a-z]+ [a-z0-9]", &["ab", "a1", "abcd9"], &["a", "1", "ab12"]);
    check("root ::= x\nx ::= \"(\" x \")\" | [a-z]+ [a-z0-9]", &["(ab)", "((abc1))", "zz"], &["(a)", "(ab", "ab)"]);
    check("root ::= \"a\"{2} \"b\"{1,3} \"c\"{2,} \"d\"?", &["aabcc", "aabbbcccd"], &["abcc", "aabbbbcc", "aabc"]);
    check("root ::= \"ab\"* \"!\"", &["!", "ab!", "abab!"], &["abb!", "aab!"]);
    check("root ::= [^\"\\\\\\n]*", &["", "x/y\u{1f642}"], &["\"", "\\", "\n"]);
    check("root ::= . .", &["ab", "\u{e9}\n"], &["a", "abc"]);
    check("root ::= \"\\x41\\u00e9\\t\\\"\\\\\" [\\]\\-a]", &["A\u{e9}\t\"\\]", "A\u{e9}\t\"\\-"], &["A\u{e9}\t\"\\b"]);
    check("# first\nroot ::= ( # within\n \"a\" |\n \"b\" )+ end # last\n\n  end ::= \";\"", &["ab;"], &["ab", ";"]);
    check("root ::= (\n\"a\"\n|\n\"b\")+ end-rule\r\nend-rule ::= | \";\"", &["a", "ba;"], &["", ";"]);
    let list = "root ::= item\nitem ::= \"[\" (item (\",\" item)*)? \"]\" | [0-9]+";
    check(list, &["[]", "[1,[23,[]],4]", "7"], &["[", "[1,]", "[1 2]", ""]);
}

#[test]
fn llama_cpp_s_grammar_of_json_takes_json() {
    let text = r#"root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws

object ::=
  "{" ws (
            string ":" ws value
    ("," ws string ":" ws value)*
  )? "}" ws

array  ::=
  "[" ws (
            value
    ("," ws value)*
  )? "]" ws

string ::=
  "\"" (
    [^"\\\x7F\x00-\x1F] |
    "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) # escapes
  )* "\"" ws

number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws

# Optional space: by convention, applied in this grammar after literal chars when allowed
ws ::= | " " | "\n" [ \t]{0,20}
"#;
    let yes = ["{}", "{\"a\": [1, -2.5e3, \"x\\u00e9\\n\", {\"b\": null}]}", "{ \"\u{1f642}\":\n  true\n}"];
    check(Grammar::Grammar(text.into()), &yes, &["[]", "{\"a\"}", "{\"a\": 01}", "{\"a\": \"\n\"}", "{}x"]);
}

#[test]
fn errors_of_gbnf_name_the_line() {
    for (text, part) in [
        ("root ::= \"a\n", "line"),
        ("a ::= \"b\"", "no rule 'root'"),
        ("root ::= a", "a rule 'a', which it does not define"),
        ("root ::= \"a\"\nroot ::= \"b\"", "line 2: the rule 'root' is defined twice"),
        ("root ::= \"a\"\nb ::= (\"c\"", "line 2: ')' is expected"),
        ("root ::= [z-a]", "line 1: a range"),
        ("root ::= \"\\q\"", "an unknown escape"),
        ("root ::= <think>", "tokens in grammars"),
        ("root ::= \"a\"{3,2}", "a repetition"),
        ("root ::= \"a\"{999999}", "a number up to"),
        ("root ::= \"\\ud800\"", "no character"),
    ] {
        let error = compile(Grammar::Grammar(text.into())).err().expect(text);
        assert!(error.message.contains(part), "{text:?}: {}", error.message);
    }
    let deep = format!("root ::= {}", "(".repeat(100_000));
    assert!(compile(Grammar::Grammar(deep)).is_err());
    let chain = |rules: usize| {
        let chain: String = (0..rules).map(|rule| format!("r{rule} ::= r{}\n", rule + 1)).collect();
        Grammar::Grammar(format!("root ::= r0\n{chain}r{rules} ::= \"a\""))
    };
    check(chain(180), &["a"], &["", "b"]);
    assert!(compile(chain(2_000)).is_err_and(|error| error.message.contains("rules within rules")));
    // As a regular expression it would be very long.
    let doubled: String = (0..12).map(|rule| format!("d{rule} ::= d{0} d{0}\n", rule + 1)).collect();
    let doubled = Grammar::Grammar(format!("root ::= d0\n{doubled}d12 ::= \"a\""));
    check(doubled, &["a".repeat(4096).as_str()], &["a", "a".repeat(4095).as_str()]);
}

#[test]
fn lark_and_regular_expressions() {
    let lark = "start: \"say \" WORD (\", \" WORD)*\nWORD: /[a-z]+/";
    check(Grammar::Grammar(lark.into()), &["say hi", "say a, bc"], &["say", "say A", "hi"]);
    check(Grammar::Regex(r"\d{3}-[a-c/]+".into()), &["123-a/b"], &["12-a", "123-", "123-d"]);
    for bad in [Grammar::Regex("(".into()), Grammar::Regex(r"a(?=b)".into()), Grammar::Grammar("start: nothing".into())]
    {
        assert!(compile(bad.clone()).is_err(), "{bad:?}");
    }
}

#[test]
fn schemas_take_what_they_describe() {
    let check = |schema: Value, yes: &[&str], no: &[&str]| check(Grammar::JsonSchema(schema), yes, no);
    let person = json!({"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
        "required": ["name"], "additionalProperties": false});
    check(
        person,
        &["{\"name\":\"x\"}", "{ \"name\" : \"x\" ,\n \"age\": 12}", "{\n  \"name\": \"x\"\n}"],
        &[
            "{}",
            "{\"name\":1}",
            "{  \"name\":\"x\"}",
            "{\"name\":\"x\",\"age\":-1}",
            "{\"name\":\"x\",\"y\":1}",
            "{\"name\":\"x\"",
            "x",
            " {\"name\":\"x\"}",
        ],
    );
    check(json!(true), &["1", "\"a\"", "[null,{}]"], &["", "nul"]);
    check(json!({"enum": ["a", 1, null]}), &["\"a\"", "1", "null"], &["2", "\"b\""]);
    check(
        json!({"$defs": {"t": {"type": "array", "items": {"$ref": "#/$defs/t"}}}, "$ref": "#/$defs/t"}),
        &["[]", "[[],[[]]]"],
        &["[1]"],
    );
}

#[test]
fn keywords_that_are_not_understood_are_refused_by_name() {
    for (schema, keyword, at) in [
        (json!({"type": "array", "uniqueItems": true}), "uniqueItems", ""),
        (json!({"properties": {"a/b": {"not": {}}}}), "not", "/properties/a~1b"),
        (json!({"anyOf": [{"type": "null"}, {"if": {}}]}), "if", "/anyOf/1"),
        (json!({"items": {"nullable": true}}), "nullable", "/items"),
        (json!({"$defs": {"x": {"$anchor": "y"}}}), "$anchor", "/$defs/x"),
        (json!({"properties": []}), "properties", ""),
        (json!({"type": "object", "minProperties": 2}), "minProperties", ""),
        (json!({"dependentRequired": {}}), "dependentRequired", ""),
        (json!({"x-guidance": {"lenient": true}}), "x-guidance", ""),
        (json!({"items": {"x-guidance": {"whitespace_flexible": true}}}), "x-guidance", "/items"),
    ] {
        let error = compile(Grammar::JsonSchema(schema.clone())).err().expect("refused");
        assert_eq!(
            (error.keyword.as_deref(), error.at.as_deref()),
            (Some(keyword), Some(at)),
            "{schema}: {}",
            error.message
        );
    }
    for (schema, keyword) in [
        (json!({"type": "string", "format": "iri"}), "format"),
        (json!({"oneOf": [{"type": "string"}, {"type": "string", "maxLength": 3}]}), "oneOf"),
        (json!({"$ref": "#/$defs/none"}), "$ref"),
        (json!({"$ref": "https://example.com/schema"}), "$ref"),
    ] {
        let error = compile(Grammar::JsonSchema(schema.clone())).err().expect("refused");
        assert_eq!(error.keyword.as_deref(), Some(keyword), "{schema}: {}", error.message);
    }
    for schema in [json!({"type": "string", "pattern": "("}), json!({"type": "text"}), json!(1), json!(false)] {
        assert!(compile(Grammar::JsonSchema(schema.clone())).is_err(), "{schema}");
    }
}

#[test]
fn masks_hold_what_agrees_and_nothing_else() {
    let vocabulary = vocabulary();
    let schema = json!({"type": "object", "properties": {"name": {"type": "string"}, "ok": {"type": "boolean"}}, "required": ["name", "ok"]});
    for grammar in [
        Grammar::JsonSchema(schema),
        Grammar::JsonObject {},
        Grammar::Regex("(?:ab|abc|name)+[^x]".into()),
        Grammar::Grammar("root ::= \"(\" root \")\" | [a-c]+".into()),
    ] {
        let mut constraint = vocabulary.compile(grammar.clone()).expect("a grammar");
        let mut state = 7u64;
        for _ in 0..10 {
            constraint.restart();
            for _ in 0..40 {
                let mut mask = vec![0; vocabulary.words()];
                constraint.mask(&mut mask).expect("a mask");
                let allowed: Vec<u32> =
                    (0..277).filter(|token| mask[*token as usize / 32] >> (token % 32) & 1 == 1).collect();
                assert!(!allowed.contains(&1), "a token without bytes");
                for token in 1..277 {
                    assert_eq!(
                        constraint.agreeing(&[token]) == 1,
                        allowed.contains(&token),
                        "{grammar:?}: token {token}"
                    );
                }
                let twin = |token| allowed.contains(&token);
                assert_eq!(twin(276), twin(2 + u32::from(b'a')), "twins go together");
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let token = allowed[(state >> 33) as usize % allowed.len()];
                if token == 0 || constraint.commit(token).expect("allowed") {
                    break;
                }
            }
        }
    }
}

#[test]
fn what_must_come_is_known_before() {
    let schema = json!({"type": "object", "properties": {"name": {"const": "abc"}}, "required": ["name"], "additionalProperties": false,
        "x-guidance": {"whitespace_flexible": false}});
    let mut constraint = compile(Grammar::JsonSchema(schema)).expect("a grammar");
    assert_eq!(constraint.forced(), (b"{\"name\":\"abc\"}".to_vec(), true));
    constraint.commit(258).expect("the first two bytes as one token");
    assert_eq!(constraint.forced(), (b"name\":\"abc\"}".to_vec(), true));
    assert_eq!(constraint.agreeing(&[263, 259, 36, 273, 261, 2]), 5);
    let mut is_complete = false;
    for token in [263, 259, 36, 273, 261] {
        assert!(!is_complete);
        is_complete = constraint.commit(token).expect("a token");
    }
    assert!(is_complete && constraint.forced() == (Vec::new(), true) && constraint.agreeing(&[2]) == 0);
    let mut mask = vec![0; 9];
    constraint.mask(&mut mask).expect("a mask");
    assert_eq!(mask, [1, 0, 0, 0, 0, 0, 0, 0, 0], "only the end");
    let mut open = compile(Grammar::Regex("ab[0-9]*".into())).expect("a grammar");
    assert_eq!(open.forced(), (b"ab".to_vec(), false));
}

fn part(json: Value) -> Grammar {
    serde_json::from_value(json!({"parts": json})).expect("parts")
}

#[test]
fn parts_make_a_grammar() {
    let schema = json!({"$defs": {"n": {"type": "integer"}}, "type": "object", "properties": {"a": {"$ref": "#/$defs/n"}},
        "required": ["a"], "additionalProperties": false});
    let call = json!({"all": [{"text": "<c>\n{\"name\": \"f/\\\", "}, {"json": {"schema": schema, "at": ""}}, {"text": "}</c>"}]});
    check(
        part(json!({"all": [call, {"many": {"all": [{"text": "\n"}, call]}}]})),
        &[
            "<c>\n{\"name\": \"f/\\\", {\"a\": 5}}</c>",
            "<c>\n{\"name\": \"f/\\\", {\"a\":-12}}</c>\n<c>\n{\"name\": \"f/\\\", {\"a\": 5}}</c>",
        ],
        &["", "<c>\n{\"name\": \"f/\\\", {\"a\": \"5\"}}</c>", "<c>\n{\"name\": \"f/\\\", {}}</c>"],
    );
    check(
        part(json!({"any": [{"all": [{"text": "a"}, {"maybe": {"pattern": "[/x]{2}"}}]}, {"all": []}, {"text": "b"}]})),
        &["a", "a/x", "axx", "", "b"],
        &["ax", "ab", "ba"],
    );
    let text =
        json!({"all": [{"text": "<p>"}, {"until": {"pattern": "(?s:.{0,9})\n?", "close": "</p>"}}, {"text": "!"}]});
    check(
        part(text),
        &["<p></p>!", "<p>a\n<b></p>!", "<p></p</p>!", "<p>123456789\n</p>!"],
        &["<p></p>", "<p>a</p></p>!", "<p>1234567890</p>!"],
    );
}

#[test]
fn a_part_may_be_a_token_without_text() {
    let mut constraint =
        compile(part(json!({"all": [{"token": 1}, {"text": "ab"}, {"token": 1}]}))).expect("a grammar");
    let mut mask = vec![0; 9];
    constraint.mask(&mut mask).expect("a mask");
    assert_eq!((mask[0], mask[1..].iter().sum::<u32>()), (2, 0), "token 1 and nothing else");
    assert_eq!(constraint.agreeing(&[1, 99, 100, 1]), 4);
    assert_eq!(constraint.forced(), (Vec::new(), false), "it has no text");
    constraint.mask(&mut mask).expect("a mask");
    assert_eq!(mask[0], 2, "asking what is forced changes nothing");
    assert!(!constraint.commit(1).expect("it may come"));
    assert_eq!(constraint.forced(), (b"ab".to_vec(), false));
    assert!(!constraint.commit(99).expect("it may come"));
    assert!(!constraint.commit(100).expect("it may come"));
    assert!(constraint.commit(1).expect("it may come"), "only the end can follow");
}

#[test]
fn a_schema_of_a_part_is_refused_by_name_and_place() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "array", "uniqueItems": true}}});
    let refused = compile(part(json!({"json": {"schema": schema, "at": "/0/function/parameters"}}))).err();
    let refused = refused.expect("refused");
    assert_eq!(refused.keyword.as_deref(), Some("uniqueItems"));
    assert_eq!(refused.at.as_deref(), Some("/0/function/parameters/properties/a"));
}

#[test]
fn formats_are_what_defines_them() {
    let check = |format: &str, yes: &[&str], no: &[&str]| {
        let mut constraint =
            compile(Grammar::JsonSchema(json!({"type": "string", "format": format}))).expect("a grammar");
        let mut takes = |text: &str| takes(&mut constraint, &Value::from(text).to_string());
        yes.iter().for_each(|text| assert!(takes(text), "{text} is of {format}"));
        no.iter().for_each(|text| assert!(!takes(text), "{text} is not of {format}"));
    };
    check("date", &["2024-02-29", "2000-02-29", "1999-12-31"], &["2023-02-29", "1900-02-29", "2024-04-31", "2024-1-1"]);
    check("time", &["23:59:60Z", "08:30:06.28-08:00"], &["22:59:60Z", "23:59:60+01:00", "24:00:00Z", "08:30:06"]);
    check(
        "date-time",
        &["2024-02-29T23:59:60Z", "1963-06-19t08:30:06z"],
        &["2023-02-29T00:00:00Z", "2024-02-29 00:00:00Z"],
    );
    check(
        "ipv6",
        &["::", "::1", "1::", "1:2::192.168.0.1", "1:2:3:4:5:6:7:8", "::ffff:1.2.3.4", "1:2:3:4:5:6:7::"],
        &["1:2:3:4:5:6:7:8:9", "1::2::3", "12345::", "1:2:3:4:5:6:7", "::256.1.1.1", "1:2:3:4:5:6:7::8", ":1"],
    );
    check("ipv4", &["0.0.0.0", "255.249.99.10"], &["256.0.0.1", "01.2.3.4", "1.2.3"]);
    check(
        "email",
        &["joe@example.com", "\"joe bloggs\"@example.com", "a.b@[127.0.0.1]", "a@[IPv6:::1]"],
        &["joe", ".a@b.c", "a..b@c.d", "a@-b", "a@[127.0.0.300]", "joe bloggs@example.com"],
    );
}

#[test]
fn a_format_stands_beside_a_pattern_and_counts_may_have_a_point() {
    let dated = json!({"type": "string", "format": "date", "pattern": "^2024"});
    check(Grammar::JsonSchema(dated), &["\"2024-02-29\""], &["\"2023-02-28\"", "\"2024\""]);
    let counted =
        json!({"type": "array", "items": {"type": "string", "maxLength": 1.0}, "minItems": 1.0, "maxItems": 2.0});
    check(Grammar::JsonSchema(counted), &["[\"a\"]", "[\"a\", \"b\"]"], &["[]", "[\"ab\"]", "[\"a\", \"b\", \"c\"]"]);
}
