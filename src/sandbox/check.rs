//! Checks messages against Meta's rules (Meta, "Messages", "Interactive messages").

use serde_json::Value;

/// Code and details.
pub type SandboxRefusal = (i64, String);

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

fn missing(what: &str) -> SandboxRefusal {
    (131_008, format!("{what} is missing"))
}

/// A required text of 1 to `most` characters.
fn bounded(value: &Value, pointer: &str, most: usize) -> Result<(), SandboxRefusal> {
    let found = text(value, pointer).ok_or_else(|| missing(pointer))?;
    if found.is_empty() || found.chars().count() > most {
        return Err((100, format!("{pointer} has 1 to {most} characters")));
    }
    Ok(())
}

/// Checks a message.
///
/// # Errors
/// The code and the details that Meta would answer with.
pub fn check(message: &Value) -> Result<(), SandboxRefusal> {
    if text(message, "/messaging_product") != Some("whatsapp") {
        return Err((100, "messaging_product must be whatsapp".to_owned()));
    }
    match (text(message, "/to"), text(message, "/recipient")) {
        (Some(to), _) => {
            // With or without +, and however it is grouped (Meta, "Messages", phone number formats).
            let grouping = |letter: char| matches!(letter, '+' | ' ' | '-' | '(' | ')');
            let digits = to.trim_start_matches('+').replace(grouping, "");
            if !(8..=15).contains(&digits.len())
                || !digits.bytes().all(|byte| byte.is_ascii_digit())
            {
                return Err((131_009, "to is not a phone number".to_owned()));
            }
        }
        (None, Some(recipient)) => {
            if !recipient.contains('.') {
                return Err((131_009, "recipient is not a user id".to_owned()));
            }
        }
        (None, None) => return Err(missing("to")),
    }
    if text(message, "/biz_opaque_callback_data").is_some_and(|data| data.chars().count() > 512) {
        return Err((
            100,
            "biz_opaque_callback_data is longer than 512 characters".to_owned(),
        ));
    }
    if message.get("context").is_some()
        && !text(message, "/context/message_id").is_some_and(|id| id.starts_with("wamid."))
    {
        return Err((131_009, "context.message_id is not a message".to_owned()));
    }
    match text(message, "/type") {
        Some("text") => bounded(message, "/text/body", 4096),
        Some("template") => check_template(message),
        Some(kind @ ("image" | "video" | "audio" | "document" | "sticker")) => {
            check_file(message.get(kind).unwrap_or(&Value::Null))
        }
        Some("interactive") => {
            check_interactive(message.get("interactive").unwrap_or(&Value::Null))
        }
        Some(_) => Err((131_051, "this type is not supported".to_owned())),
        None => Err(missing("type")),
    }
}

fn check_file(file: &Value) -> Result<(), SandboxRefusal> {
    match (text(file, "/id"), text(file, "/link")) {
        (Some(_), None) => {}
        (None, Some(link)) if link.starts_with("http") => {}
        _ => return Err((131_009, "either an id or a link".to_owned())),
    }
    if file.get("caption").is_some() {
        bounded(file, "/caption", 1024)?;
    }
    Ok(())
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn check_interactive(interactive: &Value) -> Result<(), SandboxRefusal> {
    let kind = text(interactive, "/type").ok_or_else(|| missing("interactive.type"))?;
    bounded(
        interactive,
        "/body/text",
        if kind == "list" { 4096 } else { 1024 },
    )?;
    if interactive.get("footer").is_some() {
        bounded(interactive, "/footer/text", 60)?;
    }
    match kind {
        "button" => {
            let buttons = list(interactive, "/action/buttons");
            if buttons.is_empty() || buttons.len() > 3 {
                return Err((131_009, "1 to 3 buttons".to_owned()));
            }
            for button in buttons {
                bounded(button, "/reply/id", 256)?;
                bounded(button, "/reply/title", 20)?;
            }
            Ok(())
        }
        "list" => {
            bounded(interactive, "/action/button", 20)?;
            let sections = list(interactive, "/action/sections");
            let rows: Vec<&Value> = sections
                .iter()
                .flat_map(|section| list(section, "/rows"))
                .collect();
            if rows.is_empty() || rows.len() > 10 || sections.len() > 10 {
                return Err((131_009, "1 to 10 rows together".to_owned()));
            }
            for row in rows {
                bounded(row, "/id", 200)?;
                bounded(row, "/title", 24)?;
            }
            Ok(())
        }
        "cta_url" => {
            bounded(interactive, "/action/parameters/display_text", 20)?;
            bounded(interactive, "/action/parameters/url", 2000)
        }
        "location_request_message"
            if text(interactive, "/action/name") == Some("send_location") =>
        {
            Ok(())
        }
        "request_contact_info" if interactive.get("action").is_some() => Ok(()),
        _ => Err((131_009, "interactive.type is not known".to_owned())),
    }
}

fn check_template(message: &Value) -> Result<(), SandboxRefusal> {
    let name = text(message, "/template/name").unwrap_or_default();
    let valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if name.is_empty() || !name.bytes().all(valid) {
        return Err((132_001, "the template name does not exist".to_owned()));
    }
    if text(message, "/template/language/code")
        .unwrap_or_default()
        .is_empty()
    {
        return Err((131_008, "template.language.code is missing".to_owned()));
    }
    for component in list(message, "/template/components") {
        // Meta's own examples write these words in either case.
        let word = |pointer: &str| text(component, pointer).map(str::to_ascii_lowercase);
        match word("/type").as_deref() {
            Some("header" | "body") => {}
            Some("button") => {
                let index = text(component, "/index").and_then(|index| index.parse::<u8>().ok());
                if index.is_none_or(|index| index > 9) {
                    return Err((131_008, "a button has no index".to_owned()));
                }
                if !matches!(
                    word("/sub_type").as_deref(),
                    Some("url" | "quick_reply" | "copy_code")
                ) {
                    return Err((131_009, "a button's sub_type is not known".to_owned()));
                }
            }
            _ => return Err((131_009, "a component's type is not known".to_owned())),
        }
        for parameter in list(component, "/parameters") {
            check_parameter(parameter)?;
        }
    }
    Ok(())
}

fn check_parameter(parameter: &Value) -> Result<(), SandboxRefusal> {
    let value = match text(parameter, "/type") {
        Some(kind @ ("image" | "video" | "document")) => {
            return check_file(parameter.get(kind).unwrap_or(&Value::Null));
        }
        Some("location") => {
            let place = |name: &str| parameter.pointer(&format!("/location/{name}"));
            return match (place("latitude"), place("longitude")) {
                (Some(_), Some(_)) => Ok(()),
                _ => Err((131_009, "a location has latitude and longitude".to_owned())),
            };
        }
        Some("currency") => {
            let currency = parameter.get("currency").unwrap_or(&Value::Null);
            if text(currency, "/code").is_none_or(|code| code.len() != 3)
                || !currency.get("amount_1000").is_some_and(Value::is_i64)
            {
                return Err((131_009, "a currency has a code and amount_1000".to_owned()));
            }
            text(currency, "/fallback_value")
        }
        Some("date_time") => text(parameter, "/date_time/fallback_value"),
        Some("text") => text(parameter, "/text"),
        Some("payload") => text(parameter, "/payload"),
        Some("coupon_code") => text(parameter, "/coupon_code"),
        _ => return Err((131_009, "a parameter's type is not known".to_owned())),
    };
    let value = value.unwrap_or_default();
    if value.is_empty() {
        return Err((131_008, "a parameter is empty".to_owned()));
    }
    if value.contains(['\n', '\t']) || value.contains("     ") {
        return Err((
            132_018,
            "a parameter has a newline, a tab or more than four spaces".to_owned(),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::check;

    fn to(to: &str) -> Value {
        json!({ "messaging_product": "whatsapp", "to": to, "type": "text", "text": { "body": "hello" } })
    }

    #[test]
    fn a_number_may_be_written_in_every_way_that_meta_reads() {
        for number in [
            "+12025550101",
            "12025550101",
            "+1 (202) 555-0101",
            "1-202-555-0101",
        ] {
            assert_eq!(check(&to(number)), Ok(()), "{number}");
        }
        for number in [
            "",
            "+",
            "+1202",
            "customer",
            "+1202555010112345",
            "+1202x5550101",
        ] {
            assert_eq!(
                check(&to(number)).map_err(|(code, _)| code),
                Err(131_009),
                "{number}"
            );
        }
    }

    fn template(component: &Value) -> Value {
        json!({ "messaging_product": "whatsapp", "to": "+12025550101", "type": "template",
            "template": { "name": "sale", "language": { "code": "en" }, "components": [component] } })
    }

    #[test]
    fn components_are_read_in_either_case_and_with_every_kind_of_parameter() {
        let amount = json!({ "type": "currency", "currency": { "fallback_value": "$100.99", "code": "USD", "amount_1000": 100_990 } });
        let day =
            json!({ "type": "date_time", "date_time": { "fallback_value": "February 25, 1977" } });
        for kind in ["body", "BODY", "Body"] {
            let component = json!({ "type": kind, "parameters": [amount, day] });
            assert_eq!(check(&template(&component)), Ok(()), "{kind}");
        }
        let button = json!({ "type": "BUTTON", "sub_type": "URL", "index": "0", "parameters": [{ "type": "text", "text": "a" }] });
        assert_eq!(check(&template(&button)), Ok(()));
        for (parameter, code) in [
            (
                json!({ "type": "currency", "currency": { "fallback_value": "$1", "code": "USD" } }),
                131_009,
            ),
            (
                json!({ "type": "currency", "currency": { "code": "USD", "amount_1000": 1000 } }),
                131_008,
            ),
            (json!({ "type": "date_time", "date_time": {} }), 131_008),
            (json!({ "type": "moon" }), 131_009),
        ] {
            let component = json!({ "type": "body", "parameters": [parameter] });
            assert_eq!(
                check(&template(&component)).map_err(|(code, _)| code),
                Err(code),
                "{component}"
            );
        }
    }
}
