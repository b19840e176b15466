//! carbon-c-relay's config.
//!
//! Its rules are one list, walked from the top until a `stop`. Baton's routes are all asked, so what was stopped before
//! a rule is what its route doesn't match; where every rule stops, `first_only` says the same.

mod cluster;
mod inputs;
mod read;
mod rules;

use std::collections::HashMap;

use self::cluster::Cluster;
use self::read::Statement;
use self::rules::Rules;
use super::sheet::{Place, Sheet};
use super::{Converted, Load, Source, Unreadable};

/// Converts a file, and those that it includes.
pub fn convert(source: &Source, load: &Load) -> Result<Converted, Unreadable> {
    let (statements, includes) = read::statements(source, load)?;
    let mut sheet = Sheet::default();
    for _ in 0..includes {
        sheet.read();
        sheet.converted();
    }
    // Dots are put in order by it always.
    sheet.section("validation").set("clean_dots", true);
    let mut clusters = HashMap::new();
    let mut has_listener = false;
    let mut rules = Rules::default();
    for mut statement in statements {
        sheet.read();
        if statement.take("cluster") {
            let (name, cluster) = cluster::read(&mut sheet, &mut statement)?;
            clusters.insert(name, cluster);
        } else if statement.take("match") {
            rules.add_match(&mut statement)?;
        } else if statement.take("rewrite") {
            rules.add_rewrite(&mut statement)?;
        } else if statement.take("aggregate") {
            rules.add_aggregate(&mut statement)?;
        } else if statement.take("listen") {
            inputs::listen(&mut sheet, &mut statement)?;
            has_listener = true;
        } else if statement.take("statistics") {
            inputs::statistics(&mut sheet, &mut statement, &clusters)?;
        } else if statement.take("send") {
            inputs::old_statistics(&mut sheet, &mut statement, &clusters)?;
        } else {
            let expected =
                "expected cluster, match, rewrite, aggregate, statistics, listen or include";
            let found = statement.word("a statement")?;
            return Err(statement.unreadable(format!("{expected}, found {found:?}")));
        }
    }
    if !has_listener {
        let place = Place {
            file: source.name.clone(),
            line: 1,
        };
        inputs::usual_listeners(&mut sheet, &place);
    }
    rules.write(&mut sheet, &clusters)?;
    Ok(sheet.finish())
}

/// The clusters that a statement names; one that isn't there is an error.
fn named<'a>(
    clusters: &'a HashMap<String, Cluster>,
    names: &[String],
    place: &Place,
) -> Result<Vec<(String, &'a Cluster)>, Unreadable> {
    let find = |name: &String| match clusters.get(name) {
        Some(cluster) => Ok((name.clone(), cluster)),
        None => Err(Unreadable {
            file: place.file.clone(),
            line: place.line,
            message: format!("expected a cluster that was defined before, found {name:?}"),
        }),
    };
    names.iter().map(find).collect()
}

/// `send to A B`, after `send`.
fn send_to(statement: &mut Statement) -> Result<Vec<String>, Unreadable> {
    statement.expect("to")?;
    statement.words_until(&["stop"], "the name of a cluster")
}
