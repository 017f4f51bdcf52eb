//! Docker's log streams and json-file entries, turned into lines.
