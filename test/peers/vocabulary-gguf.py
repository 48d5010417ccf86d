"""Puts a real model's tokenizer into a model that has nothing else, so that a real engine counts tokens as that model would.

    python3 vocabulary-gguf.py VOCABULARY OUT        VOCABULARY: a GGUF without tensors, as llama.cpp carries them

Standard library only; every run writes the same bytes. Tokens, merges, scores, types, pre-tokenizer and special ids are
copied as they are. Around them stands a llama of one layer whose weights are all zero: it loads, reads a prompt and says
something, and no test may judge what.
"""
import pathlib
import struct
import sys

WIDTH, HIDDEN, CONTEXT = 32, 32, 16384

# GGUF's value types: how many bytes each takes.
SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
STRING, ARRAY = 8, 9


class Reader:
    """Walks over a GGUF file's metadata without keeping what it reads."""

    def __init__(self, file):
        self.file = file
        self.at = 0

    def number(self, format):
        value, = struct.unpack_from(format, self.file, self.at)
        self.at += struct.calcsize(format)
        return value

    def string(self):
        size = self.number("<Q")
        self.at += size
        return self.file[self.at - size:self.at].decode()

    def skip(self, kind):
        """Steps over one value; gives how many elements it has."""
        if kind == STRING:
            self.string()
        elif kind == ARRAY:
            of, count = self.number("<I"), self.number("<Q")
            if of in SIZES:
                self.at += SIZES[of] * count
            else:
                for _ in range(count):
                    self.skip(of)
            return count
        else:
            self.at += SIZES[kind]
        return 1


def tokenizer_of(file):
    """The metadata that makes the tokenizer, each value as its bytes, and how many tokens there are."""
    reader = Reader(file)
    magic, version, _tensors, keys = (reader.number(format) for format in ("<4s", "<I", "<Q", "<Q"))
    if magic != b"GGUF" or version < 2:
        sys.exit("not a GGUF file of version 2 or later")
    found, tokens = {}, 0
    for _ in range(keys):
        key, start = reader.string(), reader.at
        count = reader.skip(reader.number("<I"))
        # The chat template is the caller's: Ollama wants it in its own language.
        if key.startswith("tokenizer.ggml."):
            found[key] = file[start:reader.at]
        if key == "tokenizer.ggml.tokens":
            tokens = count
    if tokens == 0:
        sys.exit("there is no vocabulary in it")
    return found, tokens


def string(text):
    return struct.pack("<Q", len(text.encode())) + text.encode()


u32 = lambda n: struct.pack("<II", 4, n)
f32 = lambda x: struct.pack("<If", 6, x)
text = lambda s: struct.pack("<I", STRING) + string(s)


def shapes(tokens):
    """Tensors by name, the fastest dimension first. The output matrix is left out: engines then take the embedding."""
    yield "token_embd.weight", (WIDTH, tokens)
    yield "output_norm.weight", (WIDTH,)
    for name in ("attn_norm", "ffn_norm"):
        yield f"blk.0.{name}.weight", (WIDTH,)
    for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
        yield f"blk.0.{name}.weight", (WIDTH, WIDTH)
    yield "blk.0.ffn_gate.weight", (WIDTH, HIDDEN)
    yield "blk.0.ffn_up.weight", (WIDTH, HIDDEN)
    yield "blk.0.ffn_down.weight", (HIDDEN, WIDTH)


def gguf(name, vocabulary, tokens):
    """The whole file: header, metadata, tensor directory, tensors, each aligned to 32 bytes."""
    aligned = lambda size: size + -size % 32
    directory, body, tensors = b"", 0, 0
    for tensor, shape in shapes(tokens):
        directory += string(tensor) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, body)
        body += aligned(4 * shape[0] * (shape[1] if len(shape) > 1 else 1))
        tensors += 1
    metadata = {
        "general.architecture": text("llama"),
        "general.name": text(name),
        "general.file_type": u32(0),
        "llama.vocab_size": u32(tokens),
        "llama.context_length": u32(CONTEXT),
        "llama.embedding_length": u32(WIDTH),
        "llama.block_count": u32(1),
        "llama.feed_forward_length": u32(HIDDEN),
        "llama.attention.head_count": u32(1),
        "llama.attention.head_count_kv": u32(1),
        "llama.attention.layer_norm_rms_epsilon": f32(1e-5),
        "llama.rope.dimension_count": u32(WIDTH),
        "llama.rope.freq_base": f32(10000.0),
        **vocabulary,
    }
    head = struct.pack("<4sIQQ", b"GGUF", 3, tensors, len(metadata))
    head += b"".join(string(key) + value for key, value in metadata.items()) + directory
    return head.ljust(aligned(len(head)), b"\0") + bytes(body)


def main(source, out):
    vocabulary, tokens = tokenizer_of(source.read_bytes())
    out.write_bytes(gguf(source.stem, vocabulary, tokens))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python3 vocabulary-gguf.py VOCABULARY OUT")
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
