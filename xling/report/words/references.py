"""Lists the works that the page cites."""

REFERENCES = {
    "philippy2023": "Philippy, Guo & Haddadan (2023). Identifying the correlation between language distance and "
    "cross-lingual transfer in a multilingual representation space. SIGTYP. arXiv:2305.02151.",
    "kornblith2019": "Kornblith, Norouzi, Lee & Hinton (2019). Similarity of neural network representations revisited. "
    "ICML. arXiv:1905.00414.",
    "murphy2024": "Murphy, Zylberberg & Fyshe (2024). Correcting biased centered kernel alignment measures in "
    "biological "
    "and artificial neural networks. arXiv:2405.01012.",
    "littell2017": "Littell, Mortensen, Lin, Kairis, Turner & Levin (2017). URIEL and lang2vec: representing "
    "languages as "
    "typological, geographical, and phylogenetic vectors. EACL.",
    "mantel1967": "Mantel (1967). The detection of disease clustering and a generalized regression approach. "
    "Cancer Research 27, 209–220.",
    "krackhardt1988": "Krackhardt (1988). Predicting with networks: nonparametric multiple regression analysis of "
    "dyadic "
    "data. Social Networks 10, 359–381.",
    "dekker2007": "Dekker, Krackhardt & Snijders (2007). Sensitivity of MRQAP tests to collinearity and "
    "autocorrelation "
    "conditions. Psychometrika 72, 563–581.",
    "aronow2015": "Aronow, Samii & Assenova (2015). Cluster-robust variance estimation for dyadic data. Political Analysis 23, "
    "564–577.",
    "westfall1993": "Westfall & Young (1993). Resampling-based multiple testing. Wiley.",
    "benjamini1995": "Benjamini & Hochberg (1995). Controlling the false discovery rate. Journal of the Royal "
    "Statistical "
    "Society B 57, 289–300.",
    "baron1986": "Baron & Kenny (1986). The moderator-mediator variable distinction in social psychological research. "
    "Journal of Personality and Social Psychology 51, 1173–1182.",
    "lin2019": "Lin et al. (2019). Choosing transfer languages for cross-lingual learning. ACL. arXiv:1905.12688.",
    "keung2020": "Keung, Lu, Salazar & Bhardwaj (2020). Don’t use English dev: on the zero-shot cross-lingual "
    "evaluation of "
    "contextual embeddings. EMNLP. arXiv:2004.15001.",
}
