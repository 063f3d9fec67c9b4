//! JSON Schema of what the forms take.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

/// The definitions that a schema refers to.
#[derive(Debug, Default)]
pub(in crate::policy::dialect::native) struct Schema {
    /// By name; a definition that is being made is there already, so that forms may hold themselves.
    definitions: BTreeMap<String, Json>,
}

/// The fields of a mapping.
#[derive(Debug, Default)]
pub(in crate::policy::dialect::native) struct Object {
    properties: Map<String, Json>,
    required: Vec<&'static str>,
    /// What else must hold of the fields that are given.
    rules: Vec<Json>,
}

impl Object {
    /// Adds a field.
    pub(in crate::policy::dialect::native) fn property(&mut self, name: &'static str, schema: Json, is_required: bool) {
        self.properties.insert(name.into(), schema);
        if is_required {
            self.required.push(name);
        }
    }

    /// Makes a field one that may be left out.
    pub(in crate::policy::dialect::native) fn relax(&mut self, name: &str) {
        self.required.retain(|one| *one != name);
    }

    /// At most one of these fields may be given.
    pub(in crate::policy::dialect::native) fn exclude(&mut self, names: &[&'static str]) {
        for (index, name) in names.iter().enumerate() {
            let others = names.iter().skip(index + 1);
            self.rules
                .extend(others.map(|other| json!({ "not": { "required": [name, other] } })));
        }
    }

    /// One of these fields must be given.
    pub(in crate::policy::dialect::native) fn require_one(&mut self, names: &[&'static str]) {
        let alternatives: Vec<Json> = names.iter().map(|name| json!({ "required": [name] })).collect();
        self.rules.push(json!({ "anyOf": alternatives }));
    }

    /// The mapping, which takes no other field.
    pub(in crate::policy::dialect::native) fn close(self) -> Json {
        let mut object = json!({ "type": "object", "properties": self.properties, "additionalProperties": false });
        if let (false, Some(map)) = (self.required.is_empty(), object.as_object_mut()) {
            map.insert("required".into(), json!(self.required));
        }
        if let (false, Some(map)) = (self.rules.is_empty(), object.as_object_mut()) {
            map.insert("allOf".into(), json!(self.rules));
        }
        object
    }
}

impl Schema {
    /// A reference to a definition, which is made where it is not there yet.
    pub(in crate::policy::dialect::native) fn define(
        &mut self,
        name: &'static str,
        make: impl FnOnce(&mut Self) -> Json,
    ) -> Json {
        let name = short(name);
        if !self.definitions.contains_key(&name) {
            self.definitions.insert(name.clone(), Json::Null);
            let definition = make(self);
            self.definitions.insert(name.clone(), definition);
        }
        json!({ "$ref": format!("#/$defs/{name}") })
    }

    /// A mapping with fields.
    pub(in crate::policy::dialect::native) fn object(
        &mut self,
        name: &'static str,
        fill: impl FnOnce(&mut Self, &mut Object),
    ) -> Json {
        self.define(name, |schema| {
            let mut object = Object::default();
            fill(schema, &mut object);
            object.close()
        })
    }

    /// A mapping of one of these keys.
    pub(in crate::policy::dialect::native) fn alternative(
        &mut self,
        name: &'static str,
        rows: impl FnOnce(&mut Self) -> Vec<(&'static str, Json)>,
    ) -> Json {
        self.define(name, |schema| {
            let rows = rows(schema);
            let alternatives = rows.into_iter().map(|(name, value)| {
                let mut object = Object::default();
                object.property(name, value, true);
                object.close()
            });
            json!({ "oneOf": alternatives.collect::<Vec<_>>() })
        })
    }

    /// Says what a definition is, for editors.
    pub(in crate::policy::dialect::native) fn describe(&mut self, name: &str, text: &str) {
        if let Some(Json::Object(definition)) = self.definitions.get_mut(&short(name)) {
            definition.insert("description".into(), text.trim().into());
        }
    }

    /// The whole schema, of documents that `root` describes.
    pub(in crate::policy::dialect::native) fn finish(self, root: Json) -> Json {
        let mut whole = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "A policy of the mesh, native dialect",
            "$defs": self.definitions,
        });
        if let (Some(whole), Json::Object(root)) = (whole.as_object_mut(), root) {
            whole.extend(root);
        }
        whole
    }
}

/// The name of a form without the modules that all of them share.
fn short(name: &str) -> String {
    let own = name.rsplit("native::").next().unwrap_or(name);
    own.replace("::", ".").trim_end_matches("Form").to_owned()
}
