//! Chat templates: Jinja of the model file to prompt text.
