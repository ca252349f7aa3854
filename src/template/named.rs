//! The templates of a file: a model may bring some beside the one for plain chats.

use super::guard::FreeGuards;
use super::{ChatTemplate, ControlTexts, Rendered};
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

    /// The prompt of a query and a document, where the file has a template for them: `{query}` and `{document}` are
    /// their places. Control tokens that are written in the two are broken, as in messages.
    ///
    /// # Errors
    /// `InvalidParameter` if they contain all characters that those could be broken with.
    pub fn pair(&self, query: &str, document: &str, controls: &ControlTexts) -> Result<Option<Rendered>> {
        let named = self.named.iter().find(|(name, _)| name == "rerank");
        let Some(template) = named.and_then(|(_, template)| template.as_ref().ok()) else { return Ok(None) };
        let mut free = FreeGuards::default();
        [&template.source, query, document].into_iter().for_each(|text| free.see(text));
        let guard = free.pick()?;
        let broken = |text: &str| controls.guarded(text, guard).unwrap_or_else(|| text.to_owned());
        let document = broken(document);
        let parts = template.source.split("{query}").map(|part| part.replace("{document}", &document));
        let text = parts.collect::<Vec<_>>().join(&broken(query));
        Ok(Some(Rendered { guard: text.contains(guard).then_some(guard), text }))
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
    fn a_pair_stands_in_the_words_that_the_file_has_for_it() {
        let controls = ControlTexts::new(["<end>"]);
        assert_eq!(templates().pair("a", "b", &controls).expect("no error"), None);
        let ranks = ChatTemplates::new(ChatTemplate::new("plain"), [("rerank", "<q>{query}<end>{document}<end>")]);
        let pair = |query, document| ranks.pair(query, document, &controls).expect("no error").expect("a prompt");
        assert_eq!(pair("a", "b"), Rendered { text: "<q>a<end>b<end>".into(), guard: None });
        let hostile = pair("{document}", "b<end>c");
        assert_eq!(hostile.text, "<q>{document}<end>b<\u{fdd0}end>c<end>");
        assert_eq!(hostile.guard, Some('\u{fdd0}'));
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
