//! Pages are templates with `{{NAME}}` where something is to be put.

use serde::Serialize;

/// The template with each `{{NAME}}` replaced by its value. Values are not looked into.
pub fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut page = String::with_capacity(template.len() + values.iter().map(|(_, v)| v.len()).sum::<usize>());
    let mut parts = template.split("{{");
    page.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let found = values
            .iter()
            .find_map(|(name, value)| Some((value, part.strip_prefix(name)?.strip_prefix("}}")?)));
        match found {
            Some((value, rest)) => {
                page.push_str(value);
                page.push_str(rest);
            }
            None => {
                page.push_str("{{");
                page.push_str(part);
            }
        }
    }
    page
}

/// Text that may stand anywhere in HTML.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// JSON that may stand in a script element: nothing in it can end the element.
pub fn json(value: &impl Serialize) -> String {
    let text = serde_json::to_string(value).expect("reports have string keys only");
    // Such characters occur in strings only, where their escapes mean the same.
    text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_filled_and_no_value_is_looked_into() {
        let filled = fill("a {{X}} b {{LONG}} {{X}}{{Y}}", &[("X", "{{LONG}}"), ("LONG", "$1"), ("Y", "")]);
        assert_eq!(filled, "a {{LONG}} b $1 {{LONG}}");
        assert_eq!(fill("{{UNKNOWN}} {{", &[]), "{{UNKNOWN}} {{");
    }

    #[test]
    fn nothing_ends_a_text_or_a_script() {
        assert_eq!(escape("<script>&\"'"), "&lt;script&gt;&amp;&quot;&#39;");
        let text = json(&["</script><!--&"]);
        assert!(!text.contains(['<', '>', '&']), "{text}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&text).unwrap(), ["</script><!--&"]);
    }

    #[test]
    fn numbers_that_json_has_no_word_for_become_null() {
        assert_eq!(json(&f64::NAN), "null");
    }
}
