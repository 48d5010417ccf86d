"""Writes the engine suite's model: a transformer of half a megabyte whose answers are known before it is asked.

    python3 tiny-gguf.py OUT        tiny.gguf, Modelfile (tiny), Modelfile.think (tiny-think), Modelfile.loop (tiny-loop)

Standard library only; every run writes the same bytes. It refuses to know anything: no test may judge what it says.

How it works. Each token's embedding is a random row of +1 and -1. The output matrix holds, in the row of token B, the
embedding of the token A that B shall follow, so that after A the logit of B towers over all others. The layers
between are real but whisper. What is said therefore depends on the prompt's last token alone, and the chat template
chooses that token:

    <|say|>     SENTENCE, then the end                                  27 tokens, the end counted
    <|think|>   THOUGHT between its tags, then as <|say|>               38
    <|use|>     one call of get_weather                                 9
    <|loop|>    REFRAIN for ever, until a cap or until nobody listens

A token that belongs to no chain (a raw prompt's last one) leads to SENTENCE. Prompts are read byte by byte: one byte of
UTF-8 is one token, and so is each <|name|>.
"""
import array
import pathlib
import random
import struct
import sys

WIDTH, LAYERS, HEADS, HIDDEN, CONTEXT = 64, 2, 2, 128, 32768
PEAK = 40.0  # the wanted successor's logit; chance brings no other above 20, so sampling never leaves the chain

MARKS = ["<|bos|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>",
         "<|say|>", "<|think|>", "<|use|>", "<|loop|>"]
# One string is one token; bytes are one token each, so that a character can arrive in pieces.
FLAME, ACCENT = "🔥".encode(), "é".encode()
SENTENCE = ["Our", " hearth", " keeps", " burning", " all", " night ", FLAME, " at", " the", " caf", ACCENT, " where",
            " each", " guest", " pays", " for", " one", " cocoa,", " sits", " down", " and", " reads."]
THOUGHT = ["<think>", "Let", " me", " see", " what", " they", " want", " before", " I", " answer.", "</think>"]
CALL = ["<tool_call>", '{"name"', ': "get_weather"', ', "arguments"', ': {"city"', ': "Paris"', "}}", "</tool_call>"]
REFRAIN = ["tick", " tock", " ding", " dong", " creak", " crackle", " pop", " hiss "]

# llama.cpp reads this one from the file; Ollama wants the same in its own language, from the Modelfile.
JINJA = """{%- for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor -%}
{%- if add_generation_prompt %}{{ '<|use|>' if tools and messages[-1].role != 'tool' else '<|say|>' }}{% endif -%}"""
# Ollama derives what a model can do (tools, thinking) from the variables named here, and the tags it cuts out of the
# text from what stands inside `if .ToolCalls` (a bare `range` it overlooks) and around `.Thinking`.
CHAT = """{{- if .Tools }}<|system|>{{ .Tools }}<|end|>{{ end }}{{ $from := "" }}
{{- range .Messages }}{{ $from = .Role }}<|{{ .Role }}|>@THOUGHT@{{ .Content }}
{{- if .ToolCalls }}{{ range .ToolCalls -}}
<tool_call>{"name": "{{ .Function.Name }}", "arguments": {{ .Function.Arguments }}}</tool_call>
{{- end }}{{ end }}<|end|>
{{- end }}
{{- if and .Tools (ne $from "tool") }}<|use|>{{ else if .Think }}<|think|>{{ else }}<|say|>{{ end }}"""
TEMPLATES = {
    "Modelfile": CHAT.replace("@THOUGHT@", ""),
    "Modelfile.think": CHAT.replace("@THOUGHT@", "{{ if .Thinking }}<think>{{ .Thinking }}</think>{{ end }}"),
    "Modelfile.loop": "{{ .Prompt }}<|loop|>",
}


class Vocabulary:
    """The tokens by id, and for each token of a chain the one that follows it."""

    def __init__(self):
        # A byte-level vocabulary spells a byte that does not print as a letter from U+0100 on.
        printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
        hidden = [b for b in range(256) if b not in printable]
        self.letters = [chr(b) if b in printable else chr(256 + hidden.index(b)) for b in range(256)]
        self.tokens = [*self.letters, *MARKS]
        self.next = {}
        end = self.id("<|end|>")
        say = self.chain("<|say|>", SENTENCE, end)
        self.chain("<|think|>", THOUGHT, say)
        self.chain("<|use|>", CALL, end)
        loop = self.chain("<|loop|>", REFRAIN, None)
        self.next[len(self.tokens) - 1] = loop
        self.start = say

    def id(self, token):
        return self.tokens.index(token)

    def add(self, text):
        token = "".join(self.letters[b] for b in text.encode())
        assert token not in self.tokens, f"a token follows one chain only, and {text!r} is there already"
        self.tokens.append(token)
        return len(self.tokens) - 1

    def chain(self, mark, pieces, then):
        """Links mark -> pieces -> then; returns the id of the first piece."""
        ids = [i for piece in pieces for i in (piece if isinstance(piece, bytes) else [self.add(piece)])]
        for token, follower in zip([self.id(mark), *ids], [*ids, then]):
            assert token not in self.next, "a token has one successor"
            if follower is not None:
                self.next[token] = follower
        return ids[0]


def weights(words):
    """Yields (name, shape with the fastest dimension first, float32 values)."""
    rng = random.Random(402)
    count = len(words.tokens)
    # The first column is silent in chains. Elsewhere it says "no chain" and outweighs the rest: rms(8, 1, 1, ...) = 1.41.
    embedding = [[0.0 if t in words.next else 8.0, *(rng.choice((-1.0, 1.0)) for _ in range(WIDTH - 1))]
                 for t in range(count)]
    output = [[0.0] * WIDTH for _ in range(count)]
    for token, follower in words.next.items():
        output[follower] = [o + e * PEAK / WIDTH for o, e in zip(output[follower], embedding[token])]
    output[words.start][0] = PEAK / 8 * 1.41

    rows = lambda matrix: array.array("f", [x for row in matrix for x in row])
    noise = lambda size, scale: array.array("f", [rng.uniform(-scale, scale) for _ in range(size)])
    ones = array.array("f", [1.0] * WIDTH)
    yield "token_embd.weight", (WIDTH, count), rows(embedding)
    yield "output_norm.weight", (WIDTH,), ones
    yield "output.weight", (WIDTH, count), rows(output)
    shapes = {"attn_q": (WIDTH, WIDTH, 0.2), "attn_k": (WIDTH, WIDTH, 0.2), "attn_v": (WIDTH, WIDTH, 0.2),
              "attn_output": (WIDTH, WIDTH, 0.03), "ffn_gate": (WIDTH, HIDDEN, 0.2), "ffn_up": (WIDTH, HIDDEN, 0.2),
              "ffn_down": (HIDDEN, WIDTH, 0.03)}  # what goes back into the residual is the quietest
    for layer in range(LAYERS):
        for name, (into, out, scale) in shapes.items():
            yield f"blk.{layer}.{name}.weight", (into, out), noise(into * out, scale)
        yield f"blk.{layer}.attn_norm.weight", (WIDTH,), ones
        yield f"blk.{layer}.ffn_norm.weight", (WIDTH,), ones


def string(text):
    return struct.pack("<Q", len(text.encode())) + text.encode()


# GGUF's value types: a number before each value tells how to read it.
u32 = lambda n: struct.pack("<II", 4, n)
f32 = lambda x: struct.pack("<If", 6, x)
yes = struct.pack("<I?", 7, True)
text = lambda s: struct.pack("<I", 8) + string(s)
texts = lambda all: struct.pack("<IIQ", 9, 8, len(all)) + b"".join(map(string, all))
i32s = lambda all: struct.pack(f"<IIQ{len(all)}i", 9, 5, len(all), *all)


def gguf(words):
    """The whole file: header, metadata, tensor directory, tensors, each aligned to 32 bytes."""
    aligned = lambda block: block + bytes(-len(block) % 32)
    directory, body, parameters, tensors = b"", b"", 0, 0
    for name, shape, values in weights(words):
        directory += string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, len(body))
        body += aligned(values.tobytes())
        parameters += len(values)
        tensors += 1
    metadata = {
        "general.architecture": text("llama"),
        "general.name": text("tiny"),
        "general.file_type": u32(0),
        "general.parameter_count": u32(parameters),
        "llama.vocab_size": u32(len(words.tokens)),
        "llama.context_length": u32(CONTEXT),
        "llama.embedding_length": u32(WIDTH),
        "llama.block_count": u32(LAYERS),
        "llama.feed_forward_length": u32(HIDDEN),
        "llama.attention.head_count": u32(HEADS),
        "llama.attention.head_count_kv": u32(HEADS),
        "llama.attention.layer_norm_rms_epsilon": f32(1e-5),
        "llama.rope.dimension_count": u32(WIDTH // HEADS),
        "llama.rope.freq_base": f32(10000.0),
        "tokenizer.ggml.model": text("gpt2"),
        "tokenizer.ggml.pre": text("default"),
        "tokenizer.ggml.tokens": texts(words.tokens),
        "tokenizer.ggml.token_type": i32s([3 if t in MARKS else 1 for t in words.tokens]),  # 3: control, never shown
        "tokenizer.ggml.merges": texts([]),  # engines insist on the key; without merges a byte stays a byte
        "tokenizer.ggml.bos_token_id": u32(words.id("<|bos|>")),
        "tokenizer.ggml.eos_token_id": u32(words.id("<|end|>")),
        "tokenizer.ggml.add_bos_token": yes,
        "tokenizer.chat_template": text(JINJA),
    }
    head = struct.pack("<4sIQQ", b"GGUF", 3, tensors, len(metadata))
    head += b"".join(string(key) + value for key, value in metadata.items())
    return aligned(head + directory) + body


def main(out):
    out.mkdir(parents=True, exist_ok=True)
    (out / "tiny.gguf").write_bytes(gguf(Vocabulary()))
    for name, template in TEMPLATES.items():
        # One thread: two of them wait for each other in a busy loop, which on busy cores takes a thousand times as long.
        (out / name).write_text(f'FROM ./tiny.gguf\nTEMPLATE """{template}"""\nPARAMETER num_thread 1\n', "utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python3 tiny-gguf.py OUT")
    main(pathlib.Path(sys.argv[1]))
