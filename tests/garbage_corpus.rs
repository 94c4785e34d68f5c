//! x
mod garbage;
#[test]
fn smoke() {
    garbage::attach(&[0]);
    for i in 0..=255u8 {
        garbage::attach(&[i, 5, 3, 200, 7]);
    }
    for k in 0..9u8 {
        for i in 0..32u8 {
            garbage::queues(&[k, 0, 0, 0, i, 0, 0]);
        }
    }
    for i in 0..32u8 {
        garbage::endpoints(&[0, 0, 0, 0, 0, i, 0, 0]);
    }
}
