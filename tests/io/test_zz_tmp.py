import sys; sys.path.insert(0,"/work/main/tests/io")
import numpy as np, pathlib, pytest
import test_greyscale_oracles as t
from medmm import read_image
class TP:
    pass
def test_x(write_dicom):
    for st in t.STORED:
        dt,b=t.STORED[st]; px=t.samples(dt,b)
        for pair in t.RESCALES:
            for c,w,f in (t.WINDOWS[0],t.WINDOWS[3]):
                voi={"WindowCenter":c,"WindowWidth":w}|({"VOILUTFunction":f} if f else {})
                p=write_dicom(px,BitsStored=b,HighBit=b-1,**t.rescale(pair),**voi)
                got=read_image(p).array[0]; want=t.shown_by_dcmtk(p,"+Wi","1"); off=np.abs(got-want); i=np.unravel_index(off.argmax(),off.shape)
                print(st,pair,f,"worst",round(off.max(),5),"stored",px[i],"got",got[i],"dcmtk",want[i])
