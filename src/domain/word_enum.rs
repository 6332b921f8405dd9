//! Enumerations whose variants are words: one declaration for the variants and for how rows,
//! catalogues, the API and the log write them.

/// Declares an enum of words with `ALL`, `name`, `parse`, `Display`, `Serialize`, `Deserialize` and
/// a schema for the API's description.
///
/// ```ignore
/// words! {
///     /// How it went.
///     pub enum Ending {
///         /// As it was meant to.
///         WellDone = "well_done",
///     }
/// }
/// ```
macro_rules! words {
    (
        $(#[$about:meta])*
        $visibility:vis enum $name:ident {
            $($(#[$about_variant:meta])* $variant:ident = $word:literal,)+
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $visibility enum $name {
            $($(#[$about_variant])* $variant,)+
        }

        impl $name {
            /// All of them, in the order in which they are declared.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word for it, which never changes.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }

            /// What a word stands for, if it is one of these.
            pub fn parse(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(self.name())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let word = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::parse(&word)
                    .ok_or_else(|| serde::de::Error::unknown_variant(&word, &[$($word),+]))
            }
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .enum_values(Some([$($word),+]))
                    .into()
            }
        }

        impl utoipa::ToSchema for $name {}
    };
}

pub(crate) use words;

#[cfg(test)]
mod tests {
    words! {
        /// How it went.
        pub enum Ending {
            WellDone = "well_done",
            Lost = "lost",
        }
    }

    #[test]
    fn a_word_stands_for_its_variant_and_for_nothing_else() {
        assert_eq!(Ending::ALL, [Ending::WellDone, Ending::Lost]);
        for ending in Ending::ALL.iter().copied() {
            assert_eq!(Ending::parse(ending.name()), Some(ending));
            let written = serde_json::to_string(&ending).unwrap();
            assert_eq!(written, format!("\"{ending}\""));
            assert_eq!(serde_json::from_str::<Ending>(&written).unwrap(), ending);
        }
        assert_eq!(Ending::parse("Lost"), None);
        assert!(serde_json::from_str::<Ending>("\"gone\"").is_err());
    }
}
