//! What a `format` of JSON Schema takes, as a regular expression for the whole text: the formats that llguidance has more
//! loosely or more narrowly than what defines them. It knows the others by itself.

/// RFC 3339's `full-date`: months have their days, February its 29th in leap years only.
fn date() -> String {
    let long = "(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])";
    let short = "(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)";
    let february = "02-(?:0[1-9]|1[0-9]|2[0-8])";
    let by_four = "0[48]|[2468][048]|[13579][26]";
    let leap = format!("(?:[0-9]{{2}}(?:{by_four})|(?:00|{by_four})00)-02-29");
    format!("(?:[0-9]{{4}}-(?:{long}|{short}|{february})|{leap})")
}

/// RFC 3339's `full-time`. A leap second comes at the end of a day of UTC, and is told in UTC only.
fn time() -> String {
    let hour = "(?:[01][0-9]|2[0-3])";
    let fraction = r"(?:\.[0-9]+)?";
    let offset = format!("(?:[Zz]|[+-]{hour}:[0-5][0-9])");
    format!("(?:{hour}:[0-5][0-9]:[0-5][0-9]{fraction}{offset}|23:59:60{fraction}(?:[Zz]|[+-]00:00))")
}

fn ipv4() -> String {
    let byte = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
    format!(r"(?:{byte}\.){{3}}{byte}")
}

/// RFC 3986's `IPv6address`: eight words of 16 bits, the last two as an IPv4 address or not, and one row of zeros left out.
fn ipv6() -> String {
    let word = "[0-9A-Fa-f]{1,4}";
    let last_two = format!("(?:{word}:{word}|{})", ipv4());
    let before = |most: usize| match most {
        0 => String::new(),
        most => format!("(?:(?:{word}:){{0,{}}}{word})?", most - 1),
    };
    let mut ways = vec![format!("(?:{word}:){{6}}{last_two}")];
    ways.extend((0..6).map(|behind| format!("{}::(?:{word}:){{{behind}}}{last_two}", before(5 - behind))));
    ways.push(format!("{}::{word}", before(6)));
    ways.push(format!("{}::", before(7)));
    format!("(?:{})", ways.join("|"))
}

/// RFC 5321's `Mailbox`.
fn email() -> String {
    let atom = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+";
    let quoted = r#""(?:[ !#-\[\]-~]|\\[ -~])*""#;
    let label = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?";
    let literal = format!(r"\[(?:{}|IPv6:{})\]", ipv4(), ipv6());
    format!(r"(?:{atom}(?:\.{atom})*|{quoted})@(?:{label}(?:\.{label})*|{literal})")
}

/// The pattern of a format, if it is one of these.
pub fn pattern(format: &str) -> Option<String> {
    let pattern = match format {
        "date" => date(),
        "time" => time(),
        "date-time" => format!("{}[Tt]{}", date(), time()),
        "ipv4" => ipv4(),
        "ipv6" => ipv6(),
        "email" => email(),
        _ => return None,
    };
    Some(format!("^(?:{pattern})$"))
}
