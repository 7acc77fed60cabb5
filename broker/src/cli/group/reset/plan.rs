//! A file of offsets, as `kafka-consumer-groups --reset-offsets --export` writes it: a line is
//! `topic,partition,offset`. Kafka puts topics of more than 24 characters between quotes.

use std::collections::HashMap;
use std::path::Path;

use milena_client::Client;
use milena_client::admin::Offsets;

use crate::cli::failure::{Exit, Failure};

/// What one line says.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    /// Counted from 1.
    line: usize,
    topic: String,
    partition: i32,
    offset: i64,
}

/// The offsets that the file names, all of partitions that there are.
pub(super) async fn read(client: &Client, path: &Path) -> Result<Offsets, Failure> {
    let file = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::from(error).before(&format!("{file} can't be read")))?;
    let rows =
        parse(&text).map_err(|problem| Failure::new(Exit::Usage, format!("{file}, {problem}")))?;
    let mut offsets = Offsets::new();
    for row in rows {
        let at = format!("{file}, line {}", row.line);
        let topic = match client.topic(&row.topic).await {
            Ok(topic) => topic,
            Err(error) => return Err(Failure::explain(client, error).await.before(&at)),
        };
        let known = topic.partition(row.partition);
        known.map_err(|error| Failure::from(error).before(&at))?;
        offsets.insert((row.topic, row.partition), row.offset);
    }
    match offsets.is_empty() {
        true => Err(Failure::new(Exit::Usage, format!("{file} has no line"))),
        false => Ok(offsets),
    }
}

/// The rows of all lines that are not empty, none for the same partition as another.
fn parse(text: &str) -> Result<Vec<Row>, String> {
    let mut rows: Vec<Row> = Vec::new();
    let mut lines = HashMap::new();
    for (index, text) in text.lines().enumerate() {
        if text.trim().is_empty() {
            continue;
        }
        let line = index + 1;
        let row = row(line, text).map_err(|problem| format!("line {line}: {problem}"))?;
        if let Some(before) = lines.insert((row.topic.clone(), row.partition), line) {
            let (topic, partition) = (&row.topic, row.partition);
            return Err(format!(
                "line {line}: line {before} has {topic}-{partition} already"
            ));
        }
        rows.push(row);
    }
    Ok(rows)
}

fn row(line: usize, text: &str) -> Result<Row, String> {
    let fields: Vec<&str> = text.split(',').map(unquoted).collect();
    let [topic, partition, offset] = fields[..] else {
        return Err(format!("{text:?} is no topic,partition,offset"));
    };
    if topic.is_empty() {
        return Err("the topic is empty".to_owned());
    }
    Ok(Row {
        line,
        topic: topic.to_owned(),
        partition: number(partition).ok_or_else(|| format!("{partition:?} is no partition"))?,
        offset: number(offset).ok_or_else(|| format!("{offset:?} is no offset"))?,
    })
}

fn unquoted(field: &str) -> &str {
    let field = field.trim();
    let inner = field
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    inner.unwrap_or(field)
}

/// One that is not negative.
fn number<N: std::str::FromStr + PartialOrd + Default>(text: &str) -> Option<N> {
    text.parse().ok().filter(|number| *number >= N::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Result<Vec<(usize, String, i32, i64)>, String> {
        let rows = parse(text)?.into_iter();
        Ok(rows
            .map(|row| (row.line, row.topic, row.partition, row.offset))
            .collect())
    }

    #[test]
    fn lines_are_read_as_kafka_exports_them() {
        assert_eq!(
            rows("t,0,7\n\n\"a-topic-of-many-characters\",1,0\r\n"),
            Ok(vec![
                (1, "t".to_owned(), 0, 7),
                (3, "a-topic-of-many-characters".to_owned(), 1, 0)
            ])
        );
    }

    #[test]
    fn a_wrong_line_is_named_with_what_is_wrong() {
        for (text, problem) in [
            (
                "t,0,7\nt,1\n",
                "line 2: \"t,1\" is no topic,partition,offset",
            ),
            (
                "g,t,0,7",
                "line 1: \"g,t,0,7\" is no topic,partition,offset",
            ),
            (",0,7", "line 1: the topic is empty"),
            ("t,one,7", "line 1: \"one\" is no partition"),
            ("t,-1,7", "line 1: \"-1\" is no partition"),
            ("\nt,0,-1", "line 2: \"-1\" is no offset"),
            ("t,0,1\nu,0,1\nt,0,2", "line 3: line 1 has t-0 already"),
        ] {
            assert_eq!(rows(text), Err(problem.to_owned()), "{text:?}");
        }
    }
}
