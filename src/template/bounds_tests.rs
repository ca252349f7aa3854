//! What hostile templates may not do: run on, nest without end, or bring minijinja to panic.

use super::tests::{reason, run};

#[test]
fn endless_templates_run_out_of_fuel() {
    let loops = "{% for a in range(2000) %}{% for b in range(2000) %}{% for c in range(2000) %}x{% endfor %}{% endfor %}{% endfor %}";
    let doubling = "{% set ns = namespace(x='ab') %}{% for i in range(1000) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}";
    let lists = "{% set ns = namespace(x=[1]) %}{% for i in range(1000) %}{% set ns.x = ns.x + ns.x %}{% endfor %}";
    let printing = "{% set x = 'a' * 1000000 %}{% for i in range(2000) %}{{ x }}{% endfor %}";
    let capture = "{% set x = 'a' * 1000000 %}{% set y %}{% for i in range(2000) %}{{ x }}{% endfor %}{% endset %}";
    let macros = "{% macro m(x) %}{{ x }}{{ x }}{{ x }}{{ x }}{% endmacro %}{% set ns = namespace(x='abcd') %}{% for i in range(100) %}{% set ns.x = m(ns.x) %}{% endfor %}";
    let json = "{% set x = ['a' * 100000] * 1000 %}{% for i in range(1000) %}{% set y = (x * 1000)|tojson(indent=4) %}{% endfor %}";
    let methods = [
        "{{ ('a' * 1000000).replace('a', 'b' * 1000000) }}",
        "{{ ('b' * 1000000).join(['a'] * 100000) }}",
        "{% for i in range(2000) %}{% set x = ('a ' * 1000000).split() %}{% endfor %}",
        "{% for i in range(2000) %}{% set x = ('a' * 1000000).upper() %}{% endfor %}",
        "{% for i in range(2000) %}{% set x = ('a' * 1000000).find('b') %}{% endfor %}",
        "{% for i in range(2000) %}{% set x = ('a' * 1000000)|replace('b', 'c') %}{% endfor %}",
        "{{ 'a' * 100000000000 }}",
        "{{ range(2000)|list|join('b' * 1000000) }}",
        "{{ ('a' * 1000000)|replace('a', 'b' * 1000000) }}",
        "{% set x = range(20000) %}{% for i in range(2000) %}{% set y = x[19990:]|first %}{% endfor %}",
        "{% set x = range(20000) %}{% for i in range(2000) %}{% for y in x[19990:] %}{% endfor %}{% endfor %}",
        "{{ ([1] * 100000)[99990:]|first }}",
        "{{ ([1] * 100000)[::-1][0] }}",
        "{% for x in ([1] * 100000)[99990:] %}{% endfor %}",
        "{{ [1] * 100000 }}",
        "{{ ([1] * 100000)|string }}",
        "{{ ([1] * 100000) ~ '' }}",
        "{{ ([1] * 100000)|join }}",
        "{{ ([1] * 100000)|tojson }}",
        "{{ ([1] * 100000)|last }}",
        "{{ ([1] * 100000)|length }}",
        "{{ ([1] * 100000)|sort|first }}",
        "{{ ([1] * 100000)|map('string')|first }}",
        "{{ ([1] * 100000)|select|first }}",
        "{{ '-'.join(['a'] * 100000) }}",
        "{{ ([1] * 100000).count(1) }}",
        "{% for i in range(2000) %}{% set x = range(2000)|length %}{% endfor %}",
        "{% set x = 'é' * 1000000 %}{% for i in range(2000) %}{% set y = x|length %}{% endfor %}",
        "{% set x = range(2000)|list %}{% for i in range(2000) %}{% set y = x|reverse|first %}{% endfor %}",
        "{{ ('a\n' * 1000000)|indent(1000000) }}",
        "{{ (('a' * 1000000)|list * 1000)|tojson }}",
    ];
    for source in [loops, doubling, lists, printing, capture, macros, json].into_iter().chain(methods) {
        let source = format!("{{% for again in range(2000) %}}{source}{{% endfor %}}");
        assert_eq!(reason(&source), "fuel", "{source}");
    }
    // minijinja takes less for these than they cost, but the fuel for the rest bounds them.
    let cheap = [
        "{{ 2 in ([1] * 100000) }}",
        "{{ {([1] * 100000): 1} }}",
        "{{ {}[[1] * 100000] }}",
        "{{ ([1] * 100000) == ([1] * 100000) }}",
        "{% set x = 'a' * 1000000 %}{% for i in range(2000) %}{% set y = {x: i} %}{% endfor %}",
        "{% set x, y = 'a' * 1000000, 'a' * 1000000 %}{% for i in range(2000) %}{{ x == y }}{% endfor %}",
    ];
    for source in cheap {
        let start = std::time::Instant::now();
        drop(run(&format!("{{% for again in range(2000) %}}{source}{{% endfor %}}")));
        assert!(start.elapsed().as_secs() < 20, "{source}: {:?}", start.elapsed());
    }
}

#[test]
fn deep_sources_are_refused() {
    let elifs = format!("{{% if a %}}{}{{% endif %}}", "{% elif a %}".repeat(10_000));
    let cases = [
        format!("{{{{ {}1{} }}}}", "[".repeat(10_000), "]".repeat(10_000)),
        format!("{{{{ {}1{} }}}}", "(".repeat(100_000), ")".repeat(100_000)),
        format!("{{{{ 1{} }}}}", "+1".repeat(50_000)),
        format!("{{{{ {}1 }}}}", "-".repeat(50_000)),
        format!("{{{{ {}1 }}}}", "not ".repeat(50_000)),
        format!("{{{{ x{} }}}}", "|list".repeat(20_000)),
        format!("{{{{ x{} }}}}", ".a".repeat(50_000)),
        format!("{{{{ x{} }}}}", "[1:]".repeat(50_000)),
        format!("{{{{ {}1 }}}}", "1 if 1 else ".repeat(20_000)),
        "{% if a %}".repeat(10_000),
        "{% for a in a %}".repeat(10_000),
        "{% generation %}".repeat(10_000),
        format!("{{% with {} %}}{{% endwith %}}", "x=[x],".repeat(10_000) + "y=1"),
        "{% with x=[x] %}".repeat(10_000),
        elifs,
        format!("{{% if a %}}{}{{% endif %}}", "{% elif a %}{% if a %}{% endif %}".repeat(5_000)),
    ];
    for source in cases {
        assert_eq!(reason(&source), "syntax", "{}", &source[..60]);
    }
}

#[test]
fn steps_of_slices_are_words_of_any_machine() {
    for (slice, expected) in [
        ("'abc'[::-1]", "cba"),
        ("'abcd'[ 1 : : 2 ]", "bd"),
        ("'abc'[::]", "abc"),
        ("'abc'[:: ]", "abc"),
        ("'abc'[::4294967296]", "a"),
        ("'abc'[::-4294967296]", "c"),
        ("'abc'[::-9223372036854775808]", "c"),
        ("[1, 2, 3][::-2 ** 63]", "[3]"),
        ("{'a': [3, 4]}['a'][0:2:1 if true else 2]", "[3, 4]"),
        ("'abc'[::none]", "abc"),
    ] {
        assert_eq!(run(&format!("{{{{ {slice} }}}}")).expect("a text"), expected, "{slice}");
    }
    assert!(run("{{ 'abc'[::0] }}").is_err());
}

#[test]
fn cycles_need_values() {
    for call in ["loop.cycle()", "loop . cycle ( )", "loop.cycle(*[])", "loop.cycle(**{})"] {
        assert_eq!(reason(&format!("{{% for a in [1, 2] %}}{{{{ {call} }}}}{{% endfor %}}")), "syntax", "{call}");
    }
    assert_eq!(run("{% for a in [1, 2, 3] %}{{ loop.cycle('x', 'y') }}{% endfor %}").unwrap(), "xyx");
}

#[test]
fn jumps_out_of_a_block_within_a_loop_are_refused() {
    for (open, close) in [
        ("with x=1", "endwith"),
        ("filter upper", "endfilter"),
        ("set x", "endset"),
        ("macro m()", "endmacro"),
        ("autoescape true", "endautoescape"),
    ] {
        for jump in ["break", "continue"] {
            let source = format!("{{% for a in [1, 2] %}}{{% {open} %}}{{% {jump} %}}{{% {close} %}}{{% endfor %}}");
            assert_eq!(reason(&source), "syntax", "{source}");
        }
    }
    let allowed = "{% with x=1 %}{% for a in [1, 2] %}{% set b = a %}{% set c %}{{ b }}{% endset %}{{ c }}{% break %}\
                   {% endfor %}{% endwith %}";
    assert_eq!(run(allowed).unwrap(), "1");
}

#[test]
fn deep_values_are_refused() {
    let cases = [
        "{% set ns = namespace(x=1) %}{% for i in range(1000) %}{% set ns.x = [ns.x] %}{% endfor %}".to_owned(),
        "{% set ns = namespace(x=1) %}{% for i in range(1000) %}{% set ns.x = {'a': ns.x} %}{% endfor %}".to_owned(),
        "{% set ns = namespace(x=1) %}{% for i in range(1000) %}{% set ns.x, ns.y = (ns.x,), 1 %}{% endfor %}"
            .to_owned(),
        "{% set ns = namespace(x=1) %}{% for i in range(1000) %}{% set ns.x = namespace(x=ns.x) %}{% endfor %}"
            .to_owned(),
        "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}".to_owned(),
        "{% set ns = namespace() %}{% set ns.x = [ns] %}{{ ns }}".to_owned(),
        format!("{{% set x = 1 %}}{}", "{%set x=[x]%}".repeat(15_000)),
    ];
    for source in cases {
        assert_eq!(reason(&source), "failed", "{source:.60}");
    }
    // Slices of slices are lists by the time they are assigned.
    let slices = format!("{{% set x = range(9) %}}{}{{{{ x|length }}}}", "{%set x=x[0:]%}".repeat(2_000));
    assert_eq!(run(&slices).unwrap(), "9");
    assert_eq!(reason("{% macro m(x) %}{{ m([x]) }}{% endmacro %}{{ m(1) }}"), "failed");
}
