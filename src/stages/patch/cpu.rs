use super::*; use crate::backend::Cpu; use crate::geometry::*; use rayon::prelude::*;
impl GatherPatches for Cpu {
 fn gather_patches(&self,p:&Vec<Point>,k:&Vec<Point>,r:f32)->Result<Patches<Self>>{ let mut o=vec![[0.0;3];k.len()*PATCH_CAPACITY]; let mut c=vec![0u32;k.len()];
  self.run(||o.par_chunks_mut(PATCH_CAPACITY).zip(&mut c).zip(k).for_each(|((o,c),k)|{let mut n=0; for q in p { if squared_distance(q,k)<r*r { o[n]=subtract(q,k).map(|x|x/r); n+=1; if n==PATCH_CAPACITY{break;} } } *c=n as u32;})); Ok(Patches{offsets:o,count:c,radius:r})}
 fn neighbour_radii(&self,p:&Vec<Point>,k:&Vec<Point>,s:&[f32])->Result<Vec<f32>>{ let mut d:Vec<f32>=k.iter().take(500).flat_map(|k|p.iter().take(4000).map(move|q|distance(q,k))).collect(); d.sort_by(f32::total_cmp); Ok(s.iter().map(|s|d[((d.len() as f32*s) as usize).min(d.len()-1)]).collect())}
}
