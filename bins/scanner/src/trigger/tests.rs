//! Trigger files: good, bad, changed, and what is shown of them.

use tempfile::TempDir;

use super::*;

struct Bed(TempDir);

impl Bed {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn directory(&self) -> Directory {
        Directory::new(self.0.path(), Policy::default())
    }
}

fn trigger(name: &str) -> String {
    format!("[[trigger]]\nname = \"{name}\"\nurl = \"https://{name}.example/t0ken\"\n")
}

fn names(triggers: &Triggers) -> Vec<&str> {
    triggers
        .rows
        .iter()
        .map(|trigger| &*trigger.row.name)
        .collect()
}

fn whats(triggers: &Triggers) -> Vec<String> {
    triggers.problems.iter().map(ToString::to_string).collect()
}

#[test]
fn reads_toml_files_in_order_of_name() {
    let bed = Bed::new();
    bed.write("b.toml", &trigger("b"));
    bed.write("a.toml", &format!("{}{}", trigger("a2"), trigger("a1")));
    bed.write(".a.toml.swp", "{");
    bed.write(".c.toml", "{");
    bed.write("README", "{");
    let read = bed.directory().read();
    assert_eq!(names(&read), ["a2", "a1", "b"]);
    assert!(read.problems.is_empty());
}

#[test]
fn a_directory_that_is_not_there_has_no_triggers() {
    let bed = Bed::new();
    let mut directory = Directory::new(&bed.path("none"), Policy::default());
    assert_eq!(directory.read(), Triggers::default());
}

#[test]
fn a_bad_file_keeps_its_last_good_triggers_and_the_others_change() {
    let bed = Bed::new();
    bed.write("a.toml", &trigger("a"));
    bed.write("b.toml", &trigger("b"));
    let mut directory = bed.directory();
    assert_eq!(names(&directory.read()), ["a", "b"]);

    bed.write(
        "a.toml",
        &format!("{}severity = [\"loud\"]\n", trigger("a2")),
    );
    bed.write("b.toml", &trigger("b2"));
    let read = directory.read();
    assert_eq!(names(&read), ["a", "b2"]);
    let [problem] = &read.problems[..] else {
        panic!("{:?}", read.problems);
    };
    assert_eq!(
        (problem.file.clone(), problem.line),
        (bed.path("a.toml"), 4)
    );
    assert!(problem.what.contains("loud"), "{problem}");

    bed.write("a.toml", &trigger("a3"));
    let read = directory.read();
    assert_eq!(names(&read), ["a3", "b2"]);
    assert!(read.problems.is_empty());

    fs::remove_file(bed.path("a.toml")).unwrap();
    assert_eq!(names(&directory.read()), ["b2"]);
}

#[test]
fn a_name_is_given_once() {
    let bed = Bed::new();
    bed.write("a.toml", &trigger("chat"));
    bed.write("b.toml", &trigger("b"));
    let mut directory = bed.directory();
    directory.read();
    bed.write("b.toml", &format!("{}{}", trigger("c"), trigger("chat")));
    let read = directory.read();
    assert_eq!(names(&read), ["chat", "b"]);
    assert!(whats(&read)[0].contains("b.toml:4"), "{:?}", whats(&read));
}

#[test]
fn urls_are_guarded_when_they_are_written_and_not_shown() {
    for (url, what) in [
        (
            "http://127.0.0.1/t0ken",
            "address 127.0.0.1 is denied (loopback)",
        ),
        (
            "http://[::ffff:127.0.0.1]/t0ken",
            "address ::ffff:127.0.0.1 is denied",
        ),
        ("http://localhost/t0ken", "the name localhost is denied"),
        ("ftp://chat.example/t0ken", "neither http nor https"),
        ("https://user:t0ken@chat.example/", "user name"),
    ] {
        let bed = Bed::new();
        bed.write(
            "a.toml",
            &format!("[[trigger]]\nname = \"a\"\nurl = \"{url}\"\n"),
        );
        let read = bed.directory().read();
        let [problem] = &whats(&read)[..] else {
            panic!("{:?}", read.problems);
        };
        assert!(problem.contains(what), "{problem}");
        assert!(problem.contains("a.toml:3: trigger.0.url"), "{problem}");
        assert!(!problem.contains("t0ken"), "{problem}");
    }
}

#[test]
fn secrets_are_read_checked_and_not_shown() {
    let bed = Bed::new();
    let file = bed.path("chat.secret").display().to_string();
    let text = format!("{}secret_file = \"{file}\"\n", trigger("a"));
    bed.write("a.toml", &text);
    let mut directory = bed.directory();
    for (content, what) in [
        (None, "cannot be read"),
        (Some(&b"\n"[..]), "is empty"),
        (Some(b"whsec_t0p-secret"), "not base64"),
        (Some(b"\xff"), "not UTF-8"),
        (Some(&[b'k'; MAX_SECRET_FILE + 1]), "longer than"),
    ] {
        if let Some(content) = content {
            fs::write(&file, content).unwrap();
        }
        let read = directory.read();
        let [problem] = &whats(&read)[..] else {
            panic!("{:?}", read.problems);
        };
        assert!(
            problem.contains("a.toml:4: trigger.0.secret_file"),
            "{problem}"
        );
        assert!(
            problem.contains(what) && problem.contains(&file),
            "{problem}"
        );
        assert!(!problem.contains("t0p"), "{problem}");
        assert!(read.rows.is_empty());
    }
    fs::write(&file, "t0p-secret").unwrap();
    let read = directory.read();
    assert_eq!(names(&read), ["a"]);
    let shown = format!("{:?}", read.rows);
    assert!(!shown.contains("t0"), "{shown}");
}

#[test]
fn too_many_triggers_are_a_problem() {
    let bed = Bed::new();
    let many: String = (0..=MAX_TRIGGERS)
        .map(|at| trigger(&format!("t{at}")))
        .collect();
    bed.write("a.toml", &many);
    let read = bed.directory().read();
    assert_eq!(read.rows.len(), MAX_TRIGGERS);
    assert!(
        whats(&read)[0].contains("more than 256"),
        "{:?}",
        whats(&read)
    );
}

#[test]
fn no_mistake_shows_a_url() {
    for text in [
        "[[trigger]]\nname = \"a\"\nurl = \"https://chat.example/t0ken\n",
        "[[trigger]]\nname = \"a\"\nurl = \"https://chat.example/t0ken\" x\n",
        "[[trigger]]\nname = \"a\"\nurl = [\"https://chat.example/t0ken\"]\n",
        "[[trigger]]\nname = \"a\"\nurl = https://chat.example/t0ken\n",
        "[[trigger]]\nname = \"a\"\nurl = \"https://chat.example/t0ken\"\nurl = \"https://chat.example/t0ken\"\n",
    ] {
        let bed = Bed::new();
        bed.write("a.toml", text);
        let read = bed.directory().read();
        assert!(!read.problems.is_empty() && read.rows.is_empty(), "{text}");
        let shown = format!("{:?} {:?}", whats(&read), read.problems);
        assert!(!shown.contains("t0ken"), "{shown}");
    }
}

#[test]
fn the_installed_sample_is_right_also_with_everything_in_it_uncommented() {
    let sample = include_str!("../../../../deploy/etc/logferry/triggers.d/chat.toml");
    let bed = Bed::new();
    let secret = bed.path("secret");
    fs::write(&secret, "a secret").unwrap();
    let whole = service::testing::uncommented(sample);
    let whole = whole.replace("/etc/logferry/chat.secret", secret.to_str().unwrap());
    for text in [sample, &whole] {
        bed.write("chat.toml", text);
        let read = bed.directory().read();
        assert_eq!(whats(&read), Vec::<String>::new());
        assert!(!read.rows[0].row.enabled);
    }
    for key in [
        "secret_file",
        "min_severity",
        "source",
        "message",
        "format",
        "group_wait",
        "rate",
    ] {
        assert!(
            whole
                .lines()
                .any(|line| service::testing::key(line) == Some(key)),
            "{key}"
        );
    }
}
