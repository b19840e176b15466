//! Numbers by time, as JSON.

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, SerializeSeq, Serializer};

/// Numbers, the oldest first; what isn't known is NaN, and `null` in JSON. There they have one decimal at most.
#[derive(Clone, Debug, Default)]
pub struct Series(pub Vec<f32>);

impl Serialize for Series {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut all = serializer.serialize_seq(Some(self.0.len()))?;
        for &value in &self.0 {
            // `0.0` would be half as long again.
            match (f64::from(value) * 10.0).round() {
                tenths if !tenths.is_finite() => all.serialize_element(&None::<u8>)?,
                tenths if tenths % 10.0 == 0.0 => {
                    all.serialize_element(&((tenths / 10.0) as i64))?
                }
                tenths => all.serialize_element(&(tenths / 10.0))?,
            }
        }
        all.end()
    }
}

impl<'de> Deserialize<'de> for Series {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Series, D::Error> {
        let all = Vec::<Option<f32>>::deserialize(deserializer)?;
        let values = all.into_iter().map(|value| value.unwrap_or(f32::NAN));
        Ok(Series(values.collect()))
    }
}

/// What isn't known is the same everywhere.
impl PartialEq for Series {
    fn eq(&self, other: &Series) -> bool {
        let same = |(a, b): (&f32, &f32)| a == b || a.is_nan() && b.is_nan();
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(same)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let series = Series(vec![0.0, 12.0, f32::NAN, 0.26, 1234567.0, f32::INFINITY]);
        let json = serde_json::to_string(&series).unwrap();
        assert_eq!(json, "[0,12,null,0.3,1234567,null]");
        let back: Series = serde_json::from_str(&json).unwrap();
        assert_eq!(
            back,
            Series(vec![0.0, 12.0, f32::NAN, 0.3, 1234567.0, f32::NAN])
        );
    }
}
