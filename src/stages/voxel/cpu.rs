use super::*; use crate::backend::Cpu; use std::collections::BTreeMap;
fn key(p:&Point, low:&Point, s:f32)->[i32;3]{[0,1,2].map(|k|((p[k]-low[k])/s).floor() as i32)}
fn low(p:&[Point])->Point{p.iter().fold([f32::INFINITY;3],|a,q|[0,1,2].map(|k|a[k].min(q[k])))}
impl VoxelDownsample for Cpu {
 fn voxel_downsample(&self,p:&Vec<Point>,s:f32)->Result<Vec<Point>>{ let l=low(p); let mut m:BTreeMap<[i32;3],([f64;3],f64)>=BTreeMap::new();
  for q in p {let e=m.entry(key(q,&l,s)).or_default(); for k in 0..3{e.0[k]+=q[k] as f64;} e.1+=1.0;}
  let mut v:Vec<(u64,Point)>=m.iter().map(|(k,e)|{let mut h=(k[0] as u64)|((k[1] as u64)<<21)|((k[2] as u64)<<42); h=(h^(h>>31)).wrapping_mul(0x9E3779B97F4A7C15); h^=h>>29; h=h.wrapping_mul(0xBF58476D1CE4E5B9); h^=h>>32; (h,[0,1,2].map(|i|(e.0[i]/e.1) as f32))}).collect();
  v.sort_by_key(|x|x.0); Ok(v.into_iter().map(|x|x.1).collect())}
 fn voxel_size(&self,p:&Vec<Point>,w:usize)->Result<f32>{ let (mut a,mut b)=(1e-4f32,1f32); for _ in 0..12 {let m=(a*b).sqrt(); if self.voxel_downsample(p,m)?.len()>w {a=m}else{b=m}} Ok(b)}
}
