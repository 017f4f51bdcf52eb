//! Environment variables that beat the configuration file.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Display;
use std::str::FromStr;

use super::Problem;

/// A copy of the environment, so that tests can bring their own.
#[derive(Debug, Clone, Default)]
pub struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// The process's own.
    pub fn process() -> Self {
        Self(std::env::vars_os().collect())
    }

    /// The given variables and nothing else.
    pub fn of<const N: usize>(variables: [(&str, &str); N]) -> Self {
        let pairs = variables.into_iter();
        Self(
            pairs
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }

    /// The variable's text; `None` when it is unset or empty.
    ///
    /// # Errors
    /// A problem naming the variable when its value is not UTF-8.
    pub fn text(&self, name: &str) -> Result<Option<&str>, Problem> {
        match self.0.get(name.as_ref() as &std::ffi::OsStr) {
            None => Ok(None),
            Some(value) if value.is_empty() => Ok(None),
            Some(value) => match value.to_str() {
                Some(text) => Ok(Some(text)),
                None => Err(Self::problem(name, "not UTF-8")),
            },
        }
    }

    /// The variable's value as a `T`; `None` when it is unset or empty.
    ///
    /// # Errors
    /// A problem naming the variable and why its value is none.
    pub fn value<T>(&self, name: &str) -> Result<Option<T>, Problem>
    where
        T: FromStr,
        T::Err: Display,
    {
        let parse = |text: &str| {
            let failed = |error: T::Err| Self::problem(name, format!("`{text}`: {error}"));
            text.parse().map_err(failed)
        };
        self.text(name)?.map(parse).transpose()
    }

    /// A comma-separated list; `None` when the variable is unset or empty. Blanks around items and empty items go.
    ///
    /// # Errors
    /// As [`Environment::text`].
    pub fn list(&self, name: &str) -> Result<Option<Vec<String>>, Problem> {
        let split = |text: &str| {
            let items = text.split(',').map(str::trim);
            items
                .filter(|item| !item.is_empty())
                .map(str::to_owned)
                .collect()
        };
        Ok(self.text(name)?.map(split))
    }

    /// Puts the variable's value in place of what the file says.
    ///
    /// # Errors
    /// As [`Environment::value`]; `target` is untouched then.
    pub fn beats<T>(&self, name: &str, target: &mut T) -> Result<(), Problem>
    where
        T: FromStr,
        T::Err: Display,
    {
        if let Some(value) = self.value(name)? {
            *target = value;
        }
        Ok(())
    }

    /// A problem with a variable.
    pub fn problem(name: &str, what: impl Into<String>) -> Problem {
        Problem {
            file: "environment".into(),
            line: 0,
            key: name.to_owned(),
            what: what.into(),
        }
    }
}
