//! docs/grafana/tenure.json is a dashboard whose every statement runs as the reporter.

use serde_json::Value;
use sqlx::{AssertSqlSafe, Column, Connection, Executor, Row};

/// What Grafana puts in place of its macros, for the last day and intervals of five minutes.
fn expand(sql: &str) -> String {
    let mut sql = sql
        .replace("$__timeFrom()", "'2026-03-01T00:00:00Z'")
        .replace("$__timeTo()", "'2099-01-01T00:00:00Z'")
        .replace("$__interval", "5m");
    for (head, render) in [
        (
            "$__timeFilter(",
            (|column| format!("{column} BETWEEN '2026-03-01T00:00:00Z' AND '2099-01-01T00:00:00Z'")) as fn(&str) -> String,
        ),
        ("$__timeGroup(", |arguments| {
            let (column, interval) = arguments.split_once(',').expect("a column and an interval");
            let seconds = match interval.trim() {
                "'5m'" => 300,
                "'1h'" => 3_600,
                other => panic!("an interval Grafana may not know: {other}"),
            };
            format!("floor(extract(epoch from {column})/{seconds})*{seconds}")
        }),
    ] {
        while let Some(at) = sql.find(head) {
            let close = at + sql[at..].find(')').unwrap();
            sql = format!("{}{}{}", &sql[..at], render(&sql[at + head.len()..close]), &sql[close + 1..]);
        }
    }
    assert!(!sql.contains('$'), "a macro that is not known here: {sql}");
    sql
}

#[tokio::test]
async fn every_panel_runs_as_the_reporter() {
    let dashboard: Value = serde_json::from_str(include_str!("../../../docs/grafana/tenure.json")).unwrap();
    let (db, _) = super::questions::seeded().await;
    let mut reporter = super::reporter(&db).await;
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() > 10);
    let mut ids: Vec<_> = panels.iter().map(|panel| panel["id"].as_i64().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), panels.len(), "every panel has an id of its own");
    let mut statements: Vec<(String, String, bool)> = Vec::new();
    for panel in panels {
        let title = panel["title"].as_str().unwrap().to_owned();
        for target in panel["targets"].as_array().unwrap() {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title} takes the data source that is chosen");
            let series = target["format"] == "time_series";
            assert_eq!(series, panel["type"] == "timeseries", "{title}");
            statements.push((title.clone(), target["rawSql"].as_str().unwrap().to_owned(), series));
        }
    }
    for annotation in dashboard["annotations"]["list"].as_array().unwrap() {
        let name = annotation["name"].as_str().unwrap().to_owned();
        statements.push((name, annotation["rawQuery"].as_str().unwrap().to_owned(), true));
    }
    for (title, sql, series) in statements {
        let mut transaction = reporter.begin().await.unwrap();
        sqlx::raw_sql("set transaction read only").execute(&mut *transaction).await.unwrap();
        let rows = transaction.fetch_all(sqlx::raw_sql(AssertSqlSafe(expand(&sql)))).await;
        let rows = rows.unwrap_or_else(|error| panic!("{title}: {error}\n{sql}"));
        assert!(!rows.is_empty(), "{title}: nothing\n{sql}");
        if series {
            assert_eq!(rows[0].columns()[0].name(), "time", "{title}");
        }
        transaction.rollback().await.unwrap();
    }
}
