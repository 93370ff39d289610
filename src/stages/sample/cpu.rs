use super::*; use crate::backend::Cpu; use crate::geometry::squared_distance;
impl SampleFarthest for Cpu {
 fn sample_farthest(&self,p:&Vec<Point>,n:usize)->Result<Vec<u32>>{ let mut d=vec![f32::INFINITY;p.len()]; let mut o=vec![0u32]; while o.len()<n.min(p.len()){ let l=p[*o.last().unwrap() as usize]; let mut b=(0.0,0); for (i,q) in p.iter().enumerate(){ d[i]=d[i].min(squared_distance(q,&l)); if d[i]>b.0 {b=(d[i],i)} } o.push(b.1 as u32);} Ok(o)}
 fn gather_points(&self,p:&Vec<Point>,i:&Vec<u32>)->Result<Vec<Point>>{Ok(i.iter().map(|&i|p[i as usize]).collect())}
}
