//! Hashes of what should be, to tell whether something that runs is it: stable over builds and machines, which the
//! standard library's are not.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

/// FNV-1a's offset basis and prime for 64 bits (<http://www.isthe.com/chongo/tech/comp/fnv/>).
const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0100_0000_01b3;

/// 16 hexadecimal digits, the same for maps of any order.
///
/// # Panics
/// Where the value has no form in JSON.
pub fn of<T: Serialize>(value: &T) -> String {
    let value = serde_json::to_value(value).expect("what is hashed is JSON");
    let mut text = String::new();
    write(&value, &mut text);
    let hash = text.bytes().fold(BASIS, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(PRIME)
    });
    format!("{hash:016x}")
}

/// JSON with the members of objects in order.
fn write(value: &Value, text: &mut String) {
    match value {
        Value::Object(members) => {
            let sorted: BTreeMap<&String, &Value> = members.iter().collect();
            text.push('{');
            for (name, member) in sorted {
                text.push_str(name);
                text.push(':');
                write(member, text);
                text.push(',');
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for item in items {
                write(item, text);
                text.push(',');
            }
            text.push(']');
        }
        other => text.push_str(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_the_same_on_every_machine() {
        assert_eq!(of(&"a"), of(&"a".to_owned()));
        assert_ne!(of(&["a", "b"]), of(&["ab"]));
        assert_eq!(
            of(&serde_json::json!({"b": 1, "a": 2})),
            of(&serde_json::json!({"a": 2, "b": 1}))
        );
        assert_eq!(of(&Vec::<u8>::new()), "09612b07b5ecb5a5");
    }
}
