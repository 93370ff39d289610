use super::*; use crate::backend::Cpu; use crate::geometry::*; use crate::stages::patch::PATCH_CAPACITY;
pub fn rot(z:&Point)->Frame{ let (x,y,c)=(z[0],z[1],z[2]); if c < -0.99999 {return [1.,0.,0.,0.,-1.,0.,0.,0.,-1.];} let h=1.0/(1.0+c); [1.-x*x*h,-x*y*h,x,-x*y*h,1.-y*y*h,y,-x,-y,c] }
impl EstimateFrames for Cpu {
 fn estimate_frames(&self,p:&Patches<Self>,k:&Vec<Point>,o:Orientation)->Result<Vec<Frame>>{ Ok((0..k.len()).map(|i|{
  if let Orientation::Fixed(a)=o {return rot(&a);}
  let d=&p.offsets[i*PATCH_CAPACITY..][..p.count[i] as usize]; let mut m=[0f64;6]; let mut s=[0f32;3];
  for q in d { let t=[q[0]*q[0],q[0]*q[1],q[0]*q[2],q[1]*q[1],q[1]*q[2],q[2]*q[2]]; for j in 0..6{m[j]+=t[j] as f64;} for j in 0..3{s[j]+=q[j];} }
  let z=least_eigenvector(&m).1.map_or([0.,0.,1.],|v|[v.x as f32,v.y as f32,v.z as f32]);
  let flip=match o {Orientation::Towards(v)=>dot(&subtract(&v,&k[i]),&z)<0.0, _=>dot(&s,&z)>0.0};
  rot(&if flip {z.map(|x|-x)} else {z}) }).collect())}
}
