//! Continuing the last message of a chat instead of answering it, with the meaning that `transformers` gives to
//! `continue_final_message`: a mark stands behind the message, and the prompt ends where the template has brought it.

use crate::error::{ChordError, Result};
use crate::template::Rendered;
use serde_json::Value as Json;

/// Ends with a space, which shows whether the template trims texts.
const MARK: &str = "[the message goes on here] ";

fn refused(why: &str) -> ChordError {
    ChordError::parameter("continue_final_message", format!("continue_final_message: {why}"))
}

/// The messages with the mark behind the text of the last one. What is no list of messages stays as it is.
pub(super) fn marked(messages: &Json) -> Result<Json> {
    let mut messages = messages.clone();
    let Some(last) = messages.as_array_mut().and_then(|list| list.last_mut()) else { return Ok(messages) };
    let text = match last.get_mut("content") {
        Some(Json::Array(parts)) => parts.iter_mut().rev().find_map(|part| part.get_mut("text")),
        content => content,
    };
    match text {
        Some(Json::String(text)) => text.push_str(MARK),
        _ => return Err(refused("the last message has no text that could go on")),
    }
    Ok(messages)
}

/// Ends the prompt where the mark is. A template that trims texts has trimmed the mark, so that white space
/// before it goes, too.
pub(super) fn cut(mut rendered: Rendered) -> Result<Rendered> {
    let Some(end) = rendered.text.rfind(MARK.trim_end()) else {
        return Err(refused("the chat template leaves the last message out"));
    };
    let is_trimmed = !rendered.text[end..].starts_with(MARK);
    rendered.text.truncate(end);
    if is_trimmed {
        rendered.text.truncate(rendered.text.trim_end().len());
    }
    Ok(rendered)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rendered(text: String) -> Rendered {
        Rendered { text, guard: None }
    }

    #[test]
    fn the_mark_stands_behind_the_last_text() {
        let plain = marked(&json!([{"content": "a"}, {"role": "assistant", "content": "b "}])).expect("marked");
        assert_eq!(plain, json!([{"content": "a"}, {"role": "assistant", "content": format!("b {MARK}")}]));
        let parts = json!([{"content": [{"type": "text", "text": "a"}, {"type": "image"}]}]);
        assert_eq!(marked(&parts).expect("marked")[0]["content"][0]["text"], format!("a{MARK}"));
        for silent in [json!([{"role": "assistant", "content": null}]), json!([{}]), json!([{"content": []}])] {
            let error = marked(&silent).expect_err("nothing to continue");
            assert_eq!(error.details["name"], "continue_final_message");
        }
    }

    #[test]
    fn the_prompt_ends_where_the_message_does() {
        let keeps = cut(rendered(format!("<a>one {MARK}</a>\n"))).expect("cut");
        assert_eq!(keeps.text, "<a>one ", "a template that keeps spaces");
        let trims = cut(rendered(format!("<a>{}</a>\n", format!("one {MARK}").trim()))).expect("cut");
        assert_eq!(trims.text, "<a>one", "a template that trims them");
        assert!(cut(rendered("<a></a>".into())).is_err());
    }
}
