//! Forms: how a value of the model is written, told once and used three times.
//!
//! A [`Form`] reads a value, prints it, and describes it as JSON Schema. A mapping is a table of its fields ([`form!`]), a name
//! one of a table of names ([`choices!`]), an alternative a mapping of one key ([`one_of!`]); so a field that is added to
//! the table can be read, converted to, and completed by an editor. Fields that have their default are not printed.

use serde_json::Value as Json;

use super::scope::Scope;
use crate::policy::reader::{Fields, Reader};
use crate::policy::source::Node;

mod checked;
mod lists;
mod scalar;
pub(super) mod schema;
mod tree;

pub(super) use checked::{
    Authority, Between, BodyText, ChangedHeader, CorsHeader, CorsMethod, FailureStatus, Given, NewPath, RedirectStatus,
    SchemeName, Seconds, Status, warn_of_empty,
};
pub(super) use lists::{Boxed, List, NonEmpty, Opt, Pairs, Place, TextMap};
pub(super) use scalar::{
    Count, Created, Dur, DurOrZero, Flag, HeaderKey, HeaderValue, HostText, Ip, LabelSet, Limit, MethodName, Name,
    Namespace, Percent, Port, PortKey, Regex, Share, Text, TextKey, Wide,
};
pub(super) use schema::Schema;
pub use tree::Tree;

/// How one sort of value is written.
pub(super) trait Form {
    /// The value.
    type Of;

    /// Reads it; a problem is reported, and gives `None`.
    fn read(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<Self::Of>;

    /// Prints it, such that reading it gives the same value.
    fn write(value: &Self::Of) -> Tree;

    /// Describes what [`read`](Self::read) takes.
    fn schema(schema: &mut Schema) -> Json;
}

/// A form that is a table of fields, which may stand beside others in the same mapping.
pub(super) trait Table: Form {
    /// The names of the fields.
    const NAMES: &'static [&'static str];

    /// Reads the fields; what is absent or wrong has its default.
    fn read_fields(fields: &mut Fields<'_, '_, '_>, scope: Scope<'_>) -> Self::Of;

    /// Prints the fields that have not their default.
    fn write_fields(value: &Self::Of, map: &mut Tree);

    /// Describes the fields.
    fn properties(schema: &mut Schema, object: &mut schema::Object);
}

/// A mapping with fields: `"name" field: Form;` after `"name" [required] …`, or `"name" [not_yet "reason"] …` for what parses and
/// is not in force.
///
/// `origin` keeps where the mapping was written. The value after `=` has the defaults; without it they are [`Default`].
macro_rules! form {
    ($(#[doc = $doc:literal])* $form:ident of $model:ty $(= $base:expr)? $(, origin $origin:ident)? $(, check $check:expr)? ; {
        $( $name:literal $([$($flag:tt)+])? $($field:ident).+ : $codec:ty ; )*
    }) => {
        $(#[doc = $doc])*
        pub(super) struct $form;

        impl $form {
            fn base() -> $model {
                $crate::policy::dialect::native::form::form!(@base $($base)?)
            }
        }

        impl $crate::policy::dialect::native::form::Table for $form {
            const NAMES: &'static [&'static str] = &[$($name),*];

            fn read_fields(
                fields: &mut $crate::policy::reader::Fields<'_, '_, '_>,
                scope: $crate::policy::dialect::native::scope::Scope<'_>,
            ) -> $model {
                let mut found = Self::base();
                $( $crate::policy::dialect::native::form::form!(
                    @read fields, scope, found, $name, [$($($flag)+)?], ($($field).+), $codec
                ); )*
                found
            }

            fn write_fields(value: &$model, map: &mut $crate::policy::dialect::native::form::Tree) {
                let base = Self::base();
                $( if $crate::policy::dialect::native::form::form!(@required $($($flag)+)?) || value.$($field).+ != base.$($field).+ {
                    map.put($name, <$codec as $crate::policy::dialect::native::form::Form>::write(&value.$($field).+));
                } )*
            }

            fn properties(
                schema: &mut $crate::policy::dialect::native::form::Schema,
                object: &mut $crate::policy::dialect::native::form::schema::Object,
            ) {
                $( let one = <$codec as $crate::policy::dialect::native::form::Form>::schema(schema);
                object.property($name, one, $crate::policy::dialect::native::form::form!(@required $($($flag)+)?)); )*
            }
        }

        impl $crate::policy::dialect::native::form::Form for $form {
            type Of = $model;

            fn read(
                cx: &$crate::policy::reader::Reader<'_>,
                node: &$crate::policy::source::Node,
                scope: $crate::policy::dialect::native::scope::Scope<'_>,
            ) -> Option<$model> {
                let mut fields = cx.mapping(node)?;
                let found = <Self as $crate::policy::dialect::native::form::Table>::read_fields(&mut fields, scope);
                fields.finish();
                $( let found = {
                    let mut found = found;
                    found.$origin = cx.origin(node.span);
                    found
                }; )?
                $( let check: fn(&$crate::policy::reader::Reader<'_>, &$crate::policy::source::Node, &$model) = $check;
                check(cx, node, &found); )?
                Some(found)
            }

            fn write(value: &$model) -> $crate::policy::dialect::native::form::Tree {
                let mut map = $crate::policy::dialect::native::form::Tree::map();
                <Self as $crate::policy::dialect::native::form::Table>::write_fields(value, &mut map);
                map
            }

            fn schema(schema: &mut $crate::policy::dialect::native::form::Schema) -> serde_json::Value {
                let name = concat!(module_path!(), "::", stringify!($form));
                let reference = schema.object(name, <Self as $crate::policy::dialect::native::form::Table>::properties);
                schema.describe(name, concat!($($doc),*));
                reference
            }
        }
    };

    (@base) => { Default::default() };
    (@base $base:expr) => { $base };

    (@required required) => { true };
    (@required $($other:tt)*) => { false };

    (@read $fields:ident, $scope:ident, $found:ident, $name:literal, [required], ($($field:ident).+), $codec:ty) => {
        let read = $fields.required($name, |cx, node| <$codec as $crate::policy::dialect::native::form::Form>::read(cx, node, $scope));
        if let Some(value) = read {
            $found.$($field).+ = value;
        }
    };
    (@read $fields:ident, $scope:ident, $found:ident, $name:literal, [not_yet $reason:literal], ($($field:ident).+), $codec:ty) => {
        $fields.refuse($name, $crate::policy::diagnostic::Code::NOT_YET_IN_FORCE, $reason);
        $crate::policy::dialect::native::form::form!(@read $fields, $scope, $found, $name, [], ($($field).+), $codec);
    };
    (@read $fields:ident, $scope:ident, $found:ident, $name:literal, [], ($($field:ident).+), $codec:ty) => {
        let read = $fields.optional($name, |cx, node| <$codec as $crate::policy::dialect::native::form::Form>::read(cx, node, $scope));
        if let Some(value) = read {
            $found.$($field).+ = value;
        }
    };
}

/// One of a table of names.
macro_rules! choices {
    ($(#[doc = $doc:literal])* $form:ident of $model:ty ; { $( $name:literal $value:expr ; )+ }) => {
        $(#[doc = $doc])*
        pub(super) struct $form;

        impl $form {
            pub(super) const TABLE: &'static [(&'static str, $model)] = &[$(($name, $value)),+];
        }

        impl $crate::policy::dialect::native::form::Form for $form {
            type Of = $model;

            fn read(
                cx: &$crate::policy::reader::Reader<'_>,
                node: &$crate::policy::source::Node,
                _: $crate::policy::dialect::native::scope::Scope<'_>,
            ) -> Option<$model> {
                $crate::policy::reader::choice(Self::TABLE)(cx, node)
            }

            fn write(value: &$model) -> $crate::policy::dialect::native::form::Tree {
                let row = Self::TABLE.iter().find(|(_, known)| known == value);
                $crate::policy::dialect::native::form::Tree::text(row.map_or("", |(name, _)| *name))
            }

            fn schema(_: &mut $crate::policy::dialect::native::form::Schema) -> serde_json::Value {
                serde_json::json!({ "enum": [$($name),+], "description": concat!($($doc),*).trim() })
            }
        }
    };
}

/// A mapping of one key, which says what its value is: `"key" |value| Pattern => built: Form;`.
macro_rules! one_of {
    ($(#[doc = $doc:literal])* $form:ident of $model:ty ; { $( $name:literal $variant:pat => $inner:expr, $build:expr, $codec:ty ; )+ }) => {
        $(#[doc = $doc])*
        pub(super) struct $form;

        impl $form {
            const NAMES: &'static [&'static str] = &[$($name),+];
        }

        impl $crate::policy::dialect::native::form::Form for $form {
            type Of = $model;

            fn read(
                cx: &$crate::policy::reader::Reader<'_>,
                node: &$crate::policy::source::Node,
                scope: $crate::policy::dialect::native::scope::Scope<'_>,
            ) -> Option<$model> {
                let mut fields = cx.mapping(node)?;
                let given = fields.required_one_of(Self::NAMES);
                let found = given.and_then(|(name, _)| match name {
                    $( $name => fields.optional($name, |cx, node| {
                        let build: fn(<$codec as $crate::policy::dialect::native::form::Form>::Of) -> $model = $build;
                        <$codec as $crate::policy::dialect::native::form::Form>::read(cx, node, scope).map(build)
                    }), )+
                    _ => None,
                });
                fields.finish();
                found
            }

            fn write(value: &$model) -> $crate::policy::dialect::native::form::Tree {
                let mut map = $crate::policy::dialect::native::form::Tree::map();
                match value {
                    $( $variant => map.put($name, <$codec as $crate::policy::dialect::native::form::Form>::write($inner)), )+
                }
                map
            }

            fn schema(schema: &mut $crate::policy::dialect::native::form::Schema) -> serde_json::Value {
                let name = concat!(module_path!(), "::", stringify!($form));
                let reference = schema.alternative(name, |schema| vec![
                    $( ($name, <$codec as $crate::policy::dialect::native::form::Form>::schema(schema)), )+
                ]);
                schema.describe(name, concat!($($doc),*));
                reference
            }
        }
    };
}

/// A mapping of two fields, both of which are required.
macro_rules! pair {
    ($(#[doc = $doc:literal])* $form:ident ; $first:literal $left:ty, $second:literal $right:ty $(= $default:expr)?) => {
        $(#[doc = $doc])*
        pub(super) struct $form;

        impl $crate::policy::dialect::native::form::Form for $form {
            type Of = (
                <$left as $crate::policy::dialect::native::form::Form>::Of,
                <$right as $crate::policy::dialect::native::form::Form>::Of,
            );

            fn read(
                cx: &$crate::policy::reader::Reader<'_>,
                node: &$crate::policy::source::Node,
                scope: $crate::policy::dialect::native::scope::Scope<'_>,
            ) -> Option<Self::Of> {
                let mut fields = cx.mapping(node)?;
                let first = fields.required($first, |cx, node| <$left>::read(cx, node, scope));
                let second = $crate::policy::dialect::native::form::pair!(@second fields, scope, $second, $right $(, $default)?);
                fields.finish();
                Some((first?, second?))
            }

            fn write(value: &Self::Of) -> $crate::policy::dialect::native::form::Tree {
                let mut map = $crate::policy::dialect::native::form::Tree::map();
                map.put($first, <$left>::write(&value.0));
                $( if value.1 == $default { return map; } )?
                map.put($second, <$right>::write(&value.1));
                map
            }

            fn schema(schema: &mut $crate::policy::dialect::native::form::Schema) -> serde_json::Value {
                let name = concat!(module_path!(), "::", stringify!($form));
                let reference = schema.object(name, |schema, object| {
                    object.property($first, <$left>::schema(schema), true);
                    let required = true $( && { let _ = $default; false } )?;
                    object.property($second, <$right>::schema(schema), required);
                });
                schema.describe(name, concat!($($doc),*));
                reference
            }
        }
    };
    (@second $fields:ident, $scope:ident, $name:literal, $form:ty) => {
        $fields.required($name, |cx, node| <$form>::read(cx, node, $scope))
    };
    (@second $fields:ident, $scope:ident, $name:literal, $form:ty, $default:expr) => {
        match $fields.node($name) {
            Some(_) => $fields.optional($name, |cx, node| <$form>::read(cx, node, $scope)),
            None => Some($default),
        }
    };
}

pub(super) use {choices, form, one_of, pair};
