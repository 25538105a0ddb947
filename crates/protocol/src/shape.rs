//! The type of a payload as a value, for code that iterates over the table of events: the golden frames' test and
//! `bin/generate.rs`. Calls serde, schemars and ts-rs.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A payload type, as a value.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Decodes a payload and encodes the result.
    pub recode: fn(&str) -> serde_json::Result<String>,
    /// Its JSON Schema: a reference to the definition that it adds to the generator.
    #[cfg(feature = "generate")]
    pub schema: fn(&mut schemars::SchemaGenerator) -> schemars::Schema,
    /// Its name in TypeScript, declared in the list together with the types that it depends on.
    #[cfg(feature = "generate")]
    pub typescript: fn(&mut typescript::Declarations) -> String,
}

impl Shape {
    /// The shape of a type.
    #[cfg(not(feature = "generate"))]
    pub const fn of<T: Serialize + DeserializeOwned>() -> Self {
        Self { recode: recode::<T> }
    }

    /// The shape of a type.
    #[cfg(feature = "generate")]
    pub const fn of<T: Serialize + DeserializeOwned + schemars::JsonSchema + ts_rs::TS + 'static>() -> Self {
        Self {
            recode: recode::<T>,
            schema: schemars::SchemaGenerator::subschema_for::<T>,
            typescript: typescript::Declarations::declare::<T>,
        }
    }
}

fn recode<T: Serialize + DeserializeOwned>(json: &str) -> serde_json::Result<String> {
    serde_json::to_string(&serde_json::from_str::<T>(json)?)
}

/// Collects TypeScript declarations.
#[cfg(feature = "generate")]
pub mod typescript {
    use std::collections::BTreeMap;

    use ts_rs::{TS, TypeVisitor};

    /// Each type's name and its declaration with its comment. Sorted, because the order in which ts-rs
    /// reports dependencies changes from build to build.
    #[derive(Debug, Default)]
    pub struct Declarations(pub BTreeMap<String, String>);

    impl Declarations {
        /// Declares a type and its dependencies; returns its name.
        pub fn declare<T: TS + 'static + ?Sized>(&mut self) -> String {
            T::visit_generics(self);
            self.visit::<T>();
            T::name()
        }
    }

    impl TypeVisitor for Declarations {
        fn visit<T: TS + 'static + ?Sized>(&mut self) {
            // Built-in types have no file.
            if T::output_path().is_none() || self.0.contains_key(&T::ident()) {
                return;
            }
            let declaration = format!("{}export {}", T::docs().unwrap_or_default(), T::decl());
            self.0.insert(T::ident(), declaration);
            T::visit_dependencies(self);
        }
    }
}
