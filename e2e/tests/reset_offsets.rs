//! `milena group reset-offsets` from a file, and to where a group is already.

use anyhow::Result;
use e2e::broker::Broker;
use e2e::command::CommandLine;
use serde_json::Value;
use tempfile::tempdir;

#[test]
fn a_group_goes_where_a_file_says_or_stays_where_it_is() -> Result<()> {
    let broker = Broker::start(&["--set", "group.initial.rebalance.delay.ms=0"])?;
    let milena = CommandLine::new(&broker.bootstrap());
    milena.prints("topic create t -p 3")?;
    for partition in 0..3 {
        milena.takes("0\n1\n2\n3\n", &format!("produce t -p {partition}"))?;
    }
    let folder = tempdir()?;
    let file = folder.path().join("offsets.csv");
    let from_file = format!(
        "group reset-offsets g --execute --from-file {}",
        file.display()
    );
    std::fs::write(&file, "t,0,1\n\"t\",1,3\n")?;
    milena.prints(&from_file)?;
    let offsets = |shown: &Value, field: &str| -> Vec<Value> {
        let rows = shown["partitions"].as_array().into_iter().flatten();
        rows.map(|row| row[field].clone()).collect()
    };
    assert_eq!(
        offsets(&milena.prints_json("group describe g")?, "committed"),
        [1, 3]
    );
    let stays = milena.prints_json("group reset-offsets g -t t --to-current")?;
    assert_eq!(
        offsets(&stays, "to"),
        [1, 3, 4],
        "at the end where it has committed nothing"
    );
    for (text, status, words) in [
        (
            "t,0,1\nt,1\n",
            2,
            ["line 2: ", "is no topic,partition,offset"],
        ),
        ("t,0,1\nt,7,1\n", 4, ["line 2: ", "and no 7"]),
        ("nowhere,0,1\n", 4, ["line 1: ", "no topic \"nowhere\""]),
        ("", 2, ["offsets.csv", "has no line"]),
    ] {
        std::fs::write(&file, text)?;
        milena
            .run(&from_file.split(' ').collect::<Vec<_>>())?
            .failed(status, &words)?;
    }
    Ok(())
}
