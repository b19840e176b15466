//! What keys do.

use clap::ValueEnum;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::Sort;
use super::model::Model;

/// What is where on the screen.
#[derive(Debug, Default)]
pub struct Place {
    /// The first destination that is shown.
    pub top: usize,
    /// How many are.
    pub rows: usize,
    /// All of it is drawn anew: something else has written on the screen.
    pub redraw: bool,
    /// The filter is being typed.
    pub typing: bool,
}

/// Does what a key means. False: it ends.
pub fn press(key: KeyEvent, model: &mut Model, place: &mut Place) -> bool {
    if key.kind == KeyEventKind::Release {
        return true;
    }
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        place.redraw |= key.code == KeyCode::Char('l');
        return !matches!(key.code, KeyCode::Char('c' | 'd'));
    }
    if place.typing {
        type_filter(key.code, model, place);
        return true;
    }
    let page = place.rows.max(1);
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => return false,
        KeyCode::Char('s') => model.sort = next(model.sort),
        KeyCode::Char('r') => model.reversed = !model.reversed,
        KeyCode::Char('p' | ' ') => model.paused = !model.paused,
        KeyCode::Char('/') => place.typing = true,
        KeyCode::Down | KeyCode::Char('j') => place.top += 1,
        KeyCode::Up | KeyCode::Char('k') => place.top = place.top.saturating_sub(1),
        KeyCode::PageDown => place.top += page,
        KeyCode::PageUp => place.top = place.top.saturating_sub(page),
        KeyCode::Home => place.top = 0,
        KeyCode::End => place.top = usize::MAX / 2,
        _ => {}
    }
    true
}

fn type_filter(code: KeyCode, model: &mut Model, place: &mut Place) {
    match code {
        KeyCode::Enter => place.typing = false,
        KeyCode::Esc => {
            model.filter.clear();
            place.typing = false;
        }
        KeyCode::Backspace => {
            model.filter.pop();
        }
        KeyCode::Char(c) if model.filter.len() < 200 => model.filter.push(c),
        _ => {}
    }
}

fn next(sort: Sort) -> Sort {
    let all = Sort::value_variants();
    let at = all.iter().position(|one| *one == sort).unwrap_or(0);
    all[(at + 1) % all.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_filter_pause_and_quit() {
        let mut model = Model::new(Sort::Rate, String::new());
        let mut place = Place::default();
        let type_it = |text: &str, model: &mut Model, place: &mut Place| {
            let mut on = true;
            for c in text.chars() {
                let code = match c {
                    '\n' => KeyCode::Enter,
                    c => KeyCode::Char(c),
                };
                on = press(KeyEvent::from(code), model, place);
            }
            on
        };
        assert!(type_it("srpj/q s\n", &mut model, &mut place));
        assert_eq!(
            (model.sort, model.reversed, model.paused),
            (Sort::Queue, true, true)
        );
        assert_eq!(
            (&model.filter[..], place.top, place.typing),
            ("q s", 1, false)
        );
        press(KeyEvent::from(KeyCode::Char('/')), &mut model, &mut place);
        press(KeyEvent::from(KeyCode::Esc), &mut model, &mut place);
        assert_eq!((&model.filter[..], place.typing), ("", false));
        for _ in 0..Sort::value_variants().len() - 1 {
            type_it("s", &mut model, &mut place);
        }
        assert_eq!(model.sort, Sort::Rate);
        let ctrl_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        place.typing = true;
        assert!(!press(ctrl_c, &mut model, &mut place));
        place.typing = false;
        assert!(!type_it("q", &mut model, &mut place));
    }
}
