//! What one row of the table is, and the macro that makes a row and its typed field from one line.

use std::fmt;

/// A value's type, as Kafka names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// `true` or `false`.
    Boolean,
    /// Text.
    String,
    /// 32 bits, signed.
    Int,
    /// 16 bits, signed.
    Short,
    /// 64 bits, signed.
    Long,
    /// A number with a fraction.
    Double,
    /// Texts separated by commas.
    List,
    /// A class's name: text to us.
    Class,
    /// Text that is never shown.
    Password,
}

impl Type {
    /// The code of the DescribeConfigs API (KIP-569).
    pub const fn code(self) -> i8 {
        match self {
            Self::Boolean => 1,
            Self::String => 2,
            Self::Int => 3,
            Self::Short => 4,
            Self::Long => 5,
            Self::Double => 6,
            Self::List => 7,
            Self::Class => 8,
            Self::Password => 9,
        }
    }

    /// Whether a value that starts with these letters could be this type; says what it should be if not.
    pub(super) fn check(self, text: &str) -> Result<(), String> {
        let number = |kind: &str| Err(format!("{text:?} is not a whole number of {kind}"));
        match self {
            Self::Boolean if !matches!(text.to_ascii_lowercase().as_str(), "true" | "false") => {
                Err(format!("{text:?} is neither true nor false"))
            }
            Self::Int if text.parse::<i32>().is_err() => number("32 bits"),
            Self::Short if text.parse::<i16>().is_err() => number("16 bits"),
            Self::Long if text.parse::<i64>().is_err() => number("64 bits"),
            Self::Double if !text.parse::<f64>().is_ok_and(f64::is_finite) => {
                Err(format!("{text:?} is not a number"))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Boolean => "boolean",
            Self::String => "string",
            Self::Int => "int",
            Self::Short => "short",
            Self::Long => "long",
            Self::Double => "double",
            Self::List => "list",
            Self::Class => "class",
            Self::Password => "password",
        })
    }
}

/// Which values of its type a setting may have.
#[derive(Debug, Clone, Copy)]
pub enum Bounds {
    /// All of them.
    Any,
    /// This number and all above.
    AtLeast(i64),
    /// From the first number to the second, both allowed.
    Between(i64, i64),
    /// From the first number to the second, or the third.
    BetweenOr(i64, i64, i64),
    /// As `Between`, for numbers with a fraction.
    Fraction(f64, f64),
    /// One of these words; for a list, each of its items.
    OneOf(&'static [&'static str]),
    /// At least one letter, or one item.
    NotEmpty,
    /// What this function accepts; the text says what that is.
    Form(&'static str, fn(&str) -> bool),
}

impl Bounds {
    /// `text` is already of `kind`.
    fn check(&self, kind: Type, text: &str) -> Result<(), String> {
        let number = || text.parse::<i64>().unwrap_or_default();
        let allowed = match self {
            Self::Any => true,
            Self::AtLeast(least) => number() >= *least,
            Self::Between(least, most) => (*least..=*most).contains(&number()),
            Self::BetweenOr(least, most, or) => {
                (*least..=*most).contains(&number()) || number() == *or
            }
            Self::Fraction(least, most) => text
                .parse()
                .is_ok_and(|number| (*least..=*most).contains(&number)),
            Self::OneOf(words) if kind == Type::List => {
                items(text).all(|item| words.contains(&item))
            }
            Self::OneOf(words) => words.contains(&text),
            Self::NotEmpty => !text.is_empty(),
            Self::Form(_, accepts) => accepts(text),
        };
        if allowed {
            Ok(())
        } else {
            Err(format!("{text:?} is not allowed: it must be {self}"))
        }
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any value"),
            Self::AtLeast(least) => write!(f, "at least {least}"),
            Self::Between(least, most) => write!(f, "from {least} to {most}"),
            Self::BetweenOr(least, most, or) => write!(f, "from {least} to {most}, or {or}"),
            Self::Fraction(least, most) => write!(f, "from {least} to {most}"),
            Self::OneOf(words) => write!(f, "one of {}", words.join(", ")),
            Self::NotEmpty => f.write_str("not empty"),
            Self::Form(form, _) => f.write_str(form),
        }
    }
}

/// How much it matters, in Kafka's three steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Importance {
    /// Look at it before you start.
    High,
    /// Look at it when you tune.
    Medium,
    /// Hardly ever changed.
    Low,
}

impl fmt::Display for Importance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
        })
    }
}

/// Whether a running broker takes a new value, as Kafka names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Update {
    /// At the next start.
    ReadOnly,
    /// At once, for all brokers or for one.
    ClusterWide,
    /// At once, for one broker by its id.
    PerBroker,
}

impl fmt::Display for Update {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReadOnly => "read-only",
            Self::ClusterWide => "cluster-wide",
            Self::PerBroker => "per-broker",
        })
    }
}

/// What a setting does here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// What its documentation says.
    Honoured,
    /// Nothing: the name is known so that Kafka's files start us, and a warning says so.
    Ignored,
    /// Leaving it out without a word would be unsafe: any value but the default stops the start.
    Refused,
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Kafka's property name.
    pub name: &'static str,
    /// Its type.
    pub kind: Type,
    /// The value that holds where none is given, as one would write it; `None` is Kafka's `null`.
    pub default: Option<&'static str>,
    /// The allowed values.
    pub bounds: Bounds,
    /// How much it matters.
    pub importance: Importance,
    /// Whether it changes while the broker runs.
    pub update: Update,
    /// What it does here.
    pub effect: Effect,
    /// Broker settings that give a topic setting its default: the first that has a value counts, times
    /// its factor. Empty for broker settings.
    pub synonyms: &'static [(&'static str, i64)],
    /// What it is for, in sentences.
    pub documentation: &'static str,
}

impl Setting {
    /// Brings a value into the form in which it is stored and shown, or says why it is not allowed.
    pub fn check(&self, text: &str) -> Result<String, String> {
        let text = self.normal(text);
        self.kind.check(&text)?;
        self.bounds.check(self.kind, &text)?;
        if self.effect == Effect::Refused && Some(text.as_str()) != self.default && !text.is_empty()
        {
            return Err(format!(
                "{text:?} can't be honoured. {}",
                self.documentation()
            ));
        }
        Ok(text)
    }

    /// The documentation without the spaces that doc comments begin with.
    pub fn documentation(&self) -> String {
        self.documentation
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Whether its value is never shown.
    pub fn is_sensitive(&self) -> bool {
        self.kind == Type::Password
    }

    /// The environment variable that sets it: `MILENA_NUM_PARTITIONS` for `num.partitions`.
    pub fn variable(&self) -> String {
        let name = self.name.strip_prefix("milena.").unwrap_or(self.name);
        format!(
            "MILENA_{}",
            name.to_ascii_uppercase().replace(['.', '-'], "_")
        )
    }

    fn normal(&self, text: &str) -> String {
        match self.kind {
            Type::Boolean => text.trim().to_ascii_lowercase(),
            Type::List => items(text).collect::<Vec<_>>().join(","),
            Type::Password => text.to_owned(),
            _ => text.trim().to_owned(),
        }
    }
}

/// A list's items: separated by commas, blanks around them dropped, empty ones left out.
pub(super) fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

/// Declares a struct of typed settings and the table of its rows; the row is the only place that names
/// the setting. A row reads: name, field, type, default, bounds, importance, update and, for a topic
/// setting, the broker settings that its default comes from.
macro_rules! settings {
    (
        $(#[doc = $about:literal])+
        $table:ident => $structure:ident;
        $(
            $(#[doc = $doc:literal])+
            $name:literal $field:ident: $type:ty = $default:expr,
            $bounds:expr, $importance:ident, $update:ident $(, from [$($synonym:literal * $factor:literal),+])?;
        )+
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq)]
        pub struct $structure {
            $(
                $(#[doc = $doc])+
                #[doc = concat!("\n\nKafka's property `", $name, "`.")]
                pub $field: $type,
            )+
        }

        impl $structure {
            /// Types the texts that `lookup` gives for the names of the table.
            pub(super) fn read<'a>(lookup: impl Fn(&str) -> Option<std::borrow::Cow<'a, str>>) -> Result<Self, String> {
                Ok(Self {
                    $($field: $crate::config::value::Value::read(lookup($name).as_deref())
                        .map_err(|problem| format!("{}: {problem}", $name))?,)+
                })
            }
        }

        pub(super) static $table: &[$crate::config::setting::Setting] = &[
            $($crate::config::setting::Setting {
                name: $name,
                kind: <$type as $crate::config::value::Value>::TYPE,
                default: $default,
                bounds: $bounds,
                importance: $crate::config::setting::Importance::$importance,
                update: $crate::config::setting::Update::$update,
                effect: $crate::config::setting::Effect::Honoured,
                synonyms: &[$($(($synonym, $factor)),+)?],
                documentation: concat!($($doc),+),
            },)+
        ];
    };
}

pub(super) use settings;
