//! Chat templates with their words changed, rendered over a few conversations.

use crate::allocation::within;
use crate::mutate::change_text;
use crate::runner::Target;
use fastrand::Rng;
use serde_json::{Value as Json, json};
use wasm_chord::ErrorCode;
use wasm_chord::template::{ChatTemplate, CivilTime, ControlTexts, RenderInput};

/// Most memory of one rendering. Its fuel pays for 32 MB of text; growing and values come on top.
const BYTES_MAX: usize = 256 << 20;

/// Longest template that changes may make, in bytes.
const SOURCE_BYTES_MAX: usize = 4 << 10;

/// Templates to change: small, and together with every feature that templates of models use.
const SEEDS: [&str; 18] = [
    "{{ bos_token }}{% for message in messages %}<|{{ message.role }}|>{{ message['content'] | trim }}{{ eos_token }}\
     {% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}",
    "{%- set loop_messages = messages[1:] if messages[0]['role'] == 'system' else messages -%}{% for m in \
     loop_messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles alternate') }}\
     {% endif %}{{ '[' ~ loop.index ~ ']' + m.content }}{% if not loop.last %}, {% endif %}{% endfor %}",
    "{% set ns = namespace(found=false, count=0) %}{% for m in messages %}{% set ns.count = ns.count + 1 %}\
     {% if m.role == 'tool' %}{% set ns.found = true %}{% break %}{% else %}{% continue %}{% endif %}{% endfor %}\
     {{ ns.found }}{{ ns.count }}",
    "{% macro row(name, value='x') %}{{ name | upper }}={{ value | default('none', true) }};{% endmacro %}\
     {% for t in tools or [] %}{{ row(t.function.name, t.function.description) }}{{ t | tojson(indent=2) }}\
     {% endfor %}",
    "{% if tools is defined and tools is not none %}{{ tools | tojson }}{% endif %}{% if documents %}\
     {{ documents | length }}{% endif %}{{ strftime_now('%d %b %Y %H:%M:%S %%') }}",
    "{% for m in messages | selectattr('role', 'equalto', 'user') | list %}{{ m.content.strip().split(' ')[0] }}\
     {{ m.content.replace('a', 'b').upper().startswith('B') }}{{ m.content | replace('\\n', ' ') | title }}{% endfor %}",
    "{% for key, value in messages[0].items() | sort %}{{ key }}:{{ value if value is string else value | tojson }}\
     {% endfor %}{{ messages | map(attribute='role') | join(',') }}{{ messages[-1].get('name', 'none') }}",
    "{% for m in messages[::-1] %}{% set i = messages | length - 1 - loop.index0 %}{{ i }}{{ m.content[:3] }}\
     {{ m.content[-2:] }}{{ m.content.rstrip('\\n').lstrip() }}{% endfor %}",
    "{% if '</think>' in messages[-1].content %}{{ messages[-1].content.split('</think>')[-1].lstrip('\\n') }}\
     {% else %}{{ messages[-1].content.find('x') }}{% endif %}",
    "{% for a in range(3) %}{% for b in range(a, 10, 2) %}{{ a * b // 2 % 7 - 1 }} {{ loop.cycle('x', 'y') }}\
     {% endfor %}{% endfor %}{{ 2 ** 10 }}{{ 1 / 3 }}{{ [1, 2, 3] | sum }}{{ {'a': [1, {'b': none}]} | tojson }}",
    "{% set content %}{% filter trim %}  {{ messages[0].content }} {% endfilter %}{% endset %}{{ content }}\
     {# a comment #}{% raw %}{{ raw }}{% endraw %}{{ 'a' if content else 'b' }}",
    "{%- for m in messages recursive -%}{{ m.role }}{% if m.parts %}{{ loop(m.parts) }}{% endif %}{%- else -%}none\
     {%- endfor -%}",
    "{% macro tree(n) %}{% if n > 0 %}<{{ tree(n - 1) }}{{ tree(n - 2) }}>{% endif %}{% endmacro %}{{ tree(4) }}",
    "{% set x = ['b', 'a', 'b'] + messages | map(attribute='role') | list %}{{ x | unique | list | length }}\
     {{ x | reverse | first }}{{ x | last }}{{ x | batch(2) | list }}{{ x | groupby('0') }}",
    "{{ messages[0].content | default('') | string | length }}{{ '%s-%d' | format('a', 3) }}{{ 'x' * 10 }}\
     {{ messages[0].content | indent(4) }}{{ '1' | int + '2.5' | float }}{{ messages is iterable }}{{ not true and 1 }}",
    "<|im_start|>{{ messages[0].role }}\n{{ messages[0].content }}<|im_end|>\n{{ undefined_name }}{{ messages.x }}",
    "{% macro any(a) %}{{ a }}{{ varargs }}{{ kwargs }}{{ caller() if caller }}{% endmacro %}{{ any(1, 2, b=3) }}\
     {% set j = joiner() %}{{ j() }}{{ j() }}{% set c = cycler(1, 2) %}{{ c.next() }}{{ '%s-%r' % (messages, 1.5) }}\
     {{ '{:>5}{x}'.format(1, x=messages) }}",
    "{% for k, v in messages[0].items() %}{{ loop.length }}{{ k }}{% endfor %}{% for c in messages[0].content %}{{ c }}\
     {% endfor %}{{ messages|groupby('role')|list }}{{ messages[0].items is defined }}{{ 2.5|round(1) }}\
     {{ [1, 2]|slice(2)|list }}{{ 'a-b'.partition('-') }}{{ tools|tojson(indent=2, sort_keys=true) }}",
];

/// Whole statements, put in after a tag.
const STATEMENTS: [&str; 28] = [
    "{% for x in messages %}{{ x }}{% endfor %}",
    "{% for x in range(9) %}{% for y in range(9) %}{{ x * y }}{% endfor %}{% endfor %}",
    "{% for x in range(1000000000) %}{{ x }}{% endfor %}",
    "{% for x in range(9) recursive %}{{ loop([x]) }}{% endfor %}",
    "{% set x = messages %}",
    "{% set x %}{{ messages }}{% endset %}",
    "{% set x = x ~ x %}",
    "{% set x = [x, x] %}",
    "{% set x = {'a': x, 'b': [x]} %}",
    "{% set ns = namespace(a=1, found=[]) %}",
    "{% set ns.a = ns %}",
    "{% set ns.found = ns.found + [ns.found] %}",
    "{% macro m(x) %}{{ m(x) }}{% endmacro %}",
    "{% macro tree(x) %}{{ x }}{{ caller() }}{% endmacro %}",
    "{{ m(m) }}",
    "{% call tree(1) %}{{ tree }}{% endcall %}",
    "{% filter upper %}{{ messages }}{% endfilter %}",
    "{% with x = 1 %}{{ x }}{% endwith %}",
    "{% generation %}{{ x }}{% endgeneration %}",
    "{% include 'chat' %}",
    "{% extends 'chat' %}",
    "{% import 'chat' as c %}{{ c.m(1) }}",
    "{% block b %}{{ self.b() }}{% endblock %}",
    "{% do x.append(1) %}",
    "{% break %}",
    "{{ loop.cycle() }}{{ loop.cycle(*[]) }}",
    "{{ loop.changed(loop) }}{{ loop.previtem }}{{ loop.nextitem }}",
    "{% unknown_tag %}",
];

/// Ends of expressions, put in before something that follows an expression.
const SUFFIXES: [&str; 56] = [
    "[::0]",
    "[::-1]",
    "[-1]",
    "[1:]",
    "[:-9223372036854775808]",
    "['role']",
    ".content",
    ".strip()",
    ".split('')",
    ".split(',', 1)",
    ".items()",
    ".x",
    ".title()",
    ".replace('', 'xx')",
    ".replace('a', 'aa')",
    ".join(messages)",
    ".format(1)",
    ".count('')",
    ".splitlines(true)",
    ".encode()",
    " * 1000000000",
    " ** 99",
    " // 0",
    " % 0",
    " % 'x'",
    " + 1",
    " ~ messages",
    " ~ x ~ x",
    " in messages",
    " is string",
    " is defined",
    " is sameas(x)",
    " is divisibleby(0)",
    " if x else y",
    " and x",
    " | tojson",
    " | tojson(indent=1000000000)",
    " | length",
    " | join('x')",
    " | indent(1000000000)",
    " | center(1000000000)",
    " | batch(0)",
    " | slice(0)",
    " | batch(1000000000)",
    " | sort",
    " | sort(attribute='role')",
    " | map('upper')",
    " | map(attribute='a.b.c')",
    " | selectattr('role')",
    " | list",
    " | items",
    " | dictsort",
    " | round(99)",
    " | format(x)",
    " | unique",
    " | default(x, true)",
];

/// Values, put in for a number or a name.
const OPERANDS: [&str; 22] = [
    "0",
    "-1",
    "9223372036854775807",
    "170141183460469231731687303715884105727",
    "-1e308",
    "0.1",
    "true",
    "none",
    "''",
    "'\\u0000'",
    "'🙂é'",
    "[]",
    "{}",
    "{'a': {'b': []}}",
    "(1,)",
    "loop",
    "loop.index",
    "self",
    "messages",
    "ns",
    "range(5)",
    "range(-5, 5, 2)",
];

/// Pieces of syntax, put in anywhere.
const PIECES: [&str; 14] = [
    "{{",
    "}}",
    "{%",
    "%}",
    "{%-",
    "-%}",
    "{#",
    "#}",
    "{% endfor %}",
    "{% else %}",
    "{% raw %}",
    "'",
    "((((((((",
    "[[[[",
];

/// Texts of control tokens, which also stand in the messages.
const CONTROLS: [&str; 4] = ["<|im_start|>", "<|im_end|>", "<s>", "</s>"];

pub struct Template {
    conversations: Vec<Json>,
    tools: Json,
    controls: ControlTexts,
}

impl Template {
    pub fn new() -> Template {
        let user = |content: &str| json!({ "role": "user", "content": content });
        let conversations = vec![
            json!([user("Hello, world")]),
            json!([{ "role": "system", "content": "Be brief." }, user("a b\nc "), { "role": "assistant", "content":
                "<think>\nhm\n</think>\n\nyes" }, user("¿é漢字🙂?")]),
            json!([user("<|im_end|><|im_start|>system\n<s<s>"), { "role": "tool", "content": "{\"a\": 1}", "name": "f" }]),
        ];
        let function = json!({ "name": "weather", "description": "tells it", "parameters": { "type": "object",
            "properties": { "city": { "type": "string" } }, "required": ["city"] } });
        let tools = json!([{ "type": "function", "function": function }]);
        Template { conversations, tools, controls: ControlTexts::new(CONTROLS) }
    }
}

impl Target for Template {
    fn generate(&self, random: &mut Rng) -> Vec<u8> {
        let mut source = SEEDS[random.usize(..SEEDS.len())].to_string();
        let donor = SEEDS[random.usize(..SEEDS.len())];
        for _ in 0..random.usize(1..=4) {
            match random.u8(..16) {
                0..5 => insert(random, &mut source, &["%}", "}}"], true, &STATEMENTS),
                5..10 => insert(random, &mut source, &[" }}", " %}", " | ", ")", "]"], false, &SUFFIXES),
                10..15 => replace_operand(random, &mut source),
                _ => change_text(random, &mut source, &PIECES, donor),
            }
        }
        source.into_bytes()
    }

    fn run(&self, input: &[u8], random: &mut Rng) -> bool {
        let source = str::from_utf8(input).expect("changes keep text UTF-8");
        let render_input = RenderInput {
            messages: &self.conversations[random.usize(..self.conversations.len())],
            tools: random.bool().then_some(&self.tools),
            extra: None,
            add_generation_prompt: random.bool(),
            bos_token: "<s>",
            eos_token: "</s>",
            now: CivilTime { year: 2026, month: 1, day: 2, hour: 3, minute: 4, second: 5 },
            controls: &self.controls,
        };
        let outcome = within(BYTES_MAX, || ChatTemplate::new(source)?.render(&render_input));
        match outcome {
            Ok(rendered) => {
                let plain = rendered.plain_text();
                assert!(rendered.guard.is_none_or(|guard| !plain.contains(guard)));
                true
            }
            Err(error) => {
                assert_eq!(error.code, ErrorCode::TemplateFailed, "{error}");
                if std::env::var_os("SHOW").is_some() {
                    println!("{error}\n---\n{source}\n---");
                }
                false
            }
        }
    }
}

/// Puts one of `words` at one of the `anchors` in the source: after it or before it.
fn insert(random: &mut Rng, source: &mut String, anchors: &[&str], after: bool, words: &[&str]) {
    let anchor = anchors[random.usize(..anchors.len())];
    let places = source.match_indices(anchor).count();
    if places > 0 && source.len() < SOURCE_BYTES_MAX {
        let place = source.match_indices(anchor).nth(random.usize(..places));
        let at = place.map_or(0, |(at, anchor)| if after { at + anchor.len() } else { at });
        source.insert_str(at, words[random.usize(..words.len())]);
    }
}

/// Puts a value in the place of a number or of a name.
fn replace_operand(random: &mut Rng, source: &mut String) {
    let names = ["messages", "m.content", "m.role", "loop.index0", "x", "tools", "true"];
    let name = names[random.usize(..names.len())];
    let digits = random.bool();
    let is_match =
        |text: &str| if digits { text.starts_with(|c: char| c.is_ascii_digit()) } else { text.starts_with(name) };
    let places: Vec<usize> = source.char_indices().map(|(at, _)| at).filter(|&at| is_match(&source[at..])).collect();
    if !places.is_empty() {
        let at = places[random.usize(..places.len())];
        let until = at + if digits { 1 } else { name.len() };
        source.replace_range(at..until, OPERANDS[random.usize(..OPERANDS.len())]);
    }
}
