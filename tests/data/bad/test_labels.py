"""Labels and conditions that do not fit the examples."""

import numpy as np
from bad import bad
from datafiles import noise, npy, pictures, png, table


@bad("condition y.npy[1]: got 1152921504606846976", condition="y.npy", command=True)
def test_condition_beyond_float64(folder):
    np.save(folder / "y.npy", np.array([5, 2**60]))
    return npy(folder, noise(2, 3))


@bad("labels folder[0]: got no class", labels="folder")
def test_picture_without_a_class(folder):
    place = pictures(folder)
    (place / "sub").mkdir()
    (place / "sub" / "9.png").write_bytes(png())
    return str(place)


@bad("labels folder[0]: got no class", labels="folder")
def test_folder_of_one_class(folder):
    place = pictures(folder)
    return str(place)


@bad("data.labels: got 'kind', need folder", labels="kind", command=True)
def test_folder_with_other_labels(folder):
    return str(pictures(folder))


@bad("data.labels: got 'c', need one of the columns a, b", labels="c")
def test_csv_without_the_labels(folder):
    return table(folder, "a,b\n1,2\n3,4\n")


@bad("labels b[1]: got no class", labels="b")
def test_csv_with_labels_of_a_word_for_missing(folder):
    return table(folder, "a,b\n1,x\n2,NA\n3,y\n4,x\n")


@bad("column 'b': got real numbers, need whole numbers or text, to be labels", labels="b")
def test_csv_with_labels_of_real_numbers(folder):
    return table(folder, "a,b\n1,0.5\n2,1.5\n3,0.5\n")


@bad("data.csv: got no column beside the labels", labels="a")
def test_csv_of_labels_alone(folder):
    return table(folder, "a\n1\n2\n")


@bad("labels b[1]: got no class", labels="b")
def test_csv_with_a_missing_label(folder):
    text = "a,b\n1,x\n2,\n3,y\n"
    return table(folder, text)


@bad("labels of shape (19,), need one for each of 20 examples", labels="y.npy", command=True)
def test_labels_of_another_length(folder):
    np.save(folder / "y.npy", np.arange(19))
    return npy(folder, noise(20, 2))


@bad("need the name of an .npy or IDX file beside", labels="y.npy")
def test_labels_that_are_missing(folder):
    return npy(folder, noise(20, 2))
