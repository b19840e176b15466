//! A page on the screen.

use clap::ValueEnum;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::widgets::{Paragraph, Row, Table};

use super::keys::Place;
use super::model::{DESTINATIONS, INPUTS, Model, Page};

/// More listeners than these aren't shown.
const MAX_INPUTS: usize = 8;
/// No column is wider, but the last.
const MAX_WIDTH: usize = 40;

/// Draws what a model has to show; tells `place` how much there is room for.
pub fn draw(frame: &mut Frame<'_>, model: &Model, place: &mut Place, colour: bool) {
    let page = model.page();
    let inputs = page.inputs.len().min(MAX_INPUTS) as u16 + 1;
    let areas = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(inputs + 1),
        Constraint::Length(page.reasons.len() as u16 + 1),
        Constraint::Min(2),
        Constraint::Length(1),
    ]);
    let [head, listeners, reasons, destinations, foot] = areas.areas(frame.area());
    let alarm = match colour {
        true => Style::new().fg(Color::Red),
        false => Style::new().add_modifier(Modifier::BOLD),
    };
    let plain = Style::new();
    let lines = Layout::vertical([Constraint::Length(1), Constraint::Length(1)]);
    let [first, second] = lines.areas(head);
    let style = if page.failed { alarm } else { plain };
    frame.render_widget(Paragraph::new(&page.head[..]).style(style), first);
    frame.render_widget(Paragraph::new(&page.totals[..]), second);
    let rows = page
        .inputs
        .iter()
        .take(MAX_INPUTS)
        .map(|cells| (cells.clone(), plain));
    table(frame, listeners, &INPUTS, rows.collect());
    frame.render_widget(Paragraph::new(page.reasons.join("\n")), reasons);

    place.rows = usize::from(destinations.height.saturating_sub(1));
    place.top = place
        .top
        .min(page.destinations.len().saturating_sub(place.rows));
    let rows = page.destinations.iter().skip(place.top).take(place.rows);
    let rows = rows.map(|row| (row.cells.clone(), if row.up { plain } else { alarm }));
    table(frame, destinations, &DESTINATIONS, rows.collect());
    frame.render_widget(Paragraph::new(footer(model, place, &page)), foot);
}

fn footer(model: &Model, place: &Place, page: &Page) -> String {
    if place.typing {
        return format!("filter: {}_   (enter: keep, esc: all)", model.filter);
    }
    let sort = model.sort.to_possible_value();
    let sort = sort.as_ref().map_or("", |value| value.get_name());
    let order = if model.reversed { ", reversed" } else { "" };
    let filter = match &model.filter[..] {
        "" => String::new(),
        text => format!("  only {text:?}"),
    };
    let all = page.destinations.len();
    let shown = match all > place.rows {
        true => format!(
            "  {}-{} of {all}",
            place.top + 1,
            (place.top + place.rows).min(all)
        ),
        false => String::new(),
    };
    format!("q quit  s sort ({sort}{order})  r reverse  / filter  p pause{filter}{shown}")
}

/// Columns as wide as what is in them; the last has the rest.
fn table(frame: &mut Frame<'_>, area: Rect, head: &[&str], rows: Vec<(Vec<String>, Style)>) {
    let width = |column: usize| {
        let cells = rows.iter().map(|(cells, _)| cells[column].chars().count());
        let widest = cells.max().unwrap_or(0).max(head[column].len());
        Constraint::Length(widest.min(MAX_WIDTH) as u16)
    };
    let mut widths: Vec<Constraint> = (0..head.len() - 1).map(width).collect();
    widths.push(Constraint::Fill(1));
    let rows = rows
        .iter()
        .map(|(cells, style)| Row::new(cells.clone()).style(*style));
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let header = Row::new(head.iter().copied()).style(bold);
    let table = Table::new(rows.collect::<Vec<_>>(), widths)
        .header(header)
        .column_spacing(2);
    frame.render_widget(table, area);
}
