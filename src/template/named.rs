//! The templates of a file: a model may bring some beside the one for plain chats.

use super::ChatTemplate;
use crate::error::{ChordError, Result};

/// Name of the template for chats with tools.
const TOOL_USE: &str = "tool_use";
/// Name of the template that a file has without a name.
const DEFAULT: &str = "default";

/// The templates of a file. Those that do not parse keep their error, which only their use meets.
pub struct ChatTemplates {
    default: Result<ChatTemplate>,
    named: Vec<(String, Result<ChatTemplate>)>,
}

impl ChatTemplates {
    /// The template without a name, and others by their names.
    pub fn new<'a>(
        default: Result<ChatTemplate>,
        named: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> ChatTemplates {
        let named = named.into_iter().map(|(name, source)| (name.to_owned(), ChatTemplate::new(source)));
        ChatTemplates { default, named: named.collect() }
    }

    /// Errors of the named templates that do not parse.
    pub fn errors(&self) -> impl Iterator<Item = &ChordError> {
        self.named.iter().filter_map(|(_, template)| template.as_ref().err())
    }

    /// The template of a name, or else the one for tools if there are tools and such a template.
    ///
    /// # Errors
    /// `InvalidParameter` if the file has no template of that name; `TemplateFailed` if it does not
    /// parse.
    pub fn select(&self, name: Option<&str>, has_tools: bool) -> Result<&ChatTemplate> {
        let named = |wanted: &str| self.named.iter().find(|(name, _)| name == wanted).map(|(_, template)| template);
        let found = match name {
            Some(DEFAULT) => named(DEFAULT).unwrap_or(&self.default),
            Some(name) => named(name).ok_or_else(|| self.unknown(name))?,
            None if has_tools => named(TOOL_USE).unwrap_or(&self.default),
            None => &self.default,
        };
        found.as_ref().map_err(Clone::clone)
    }

    fn unknown(&self, name: &str) -> ChordError {
        let names: Vec<&str> =
            std::iter::once(DEFAULT).chain(self.named.iter().map(|(name, _)| name.as_str())).collect();
        let message = format!("the model has no chat template '{name}', only {}", names.join(", "));
        ChordError::parameter("chat_template", message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn templates() -> ChatTemplates {
        ChatTemplates::new(ChatTemplate::new("plain"), [("tool_use", "tools"), ("rag", "rag"), ("bad", "{% if %}")])
    }

    #[test]
    fn tools_and_names_choose_the_template() {
        let templates = templates();
        let cases = [
            (None, false, "plain"),
            (None, true, "tools"),
            (Some("default"), true, "plain"),
            (Some("rag"), true, "rag"),
            (Some("tool_use"), false, "tools"),
        ];
        for (name, has_tools, source) in cases {
            assert_eq!(templates.select(name, has_tools).expect("a template").source(), source, "{name:?}");
        }
        let plain = ChatTemplates::new(ChatTemplate::new("plain"), []);
        assert_eq!(plain.select(None, true).expect("a template").source(), "plain");
    }

    #[test]
    fn unknown_names_are_refused_with_the_known_ones() {
        let error = templates().select(Some("nosuch"), false).err().expect("an error");
        assert_eq!(error.details["name"], "chat_template");
        assert!(error.message.contains("default, tool_use, rag"), "{error}");
        assert_eq!(templates().select(Some("bad"), false).err().expect("an error").details["reason"], "syntax");
        assert_eq!(templates().errors().count(), 1);
    }
}
