"""The search against exhaustive enumeration, a plain beam search, and a decoder with a script."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch

from model.beam_search import beam_search
from model.decoding_options import DecodingOptions
from model.decoding_step import Attended, DecoderState, Memory, Products, attend
from model.hypotheses import Hypothesis
from model.network import ShowAttendTell
from model.word_map import CHARACTERS_PER_WORD, SPECIAL, WordMap

# Five tokens to choose from: four words and the end; the other special tokens score best of all.
WORD_MAP = WordMap({word: i for i, word in enumerate(["w", "x", "y", "z", *SPECIAL])})
ENGLISH = WordMap({word: i for i, word in enumerate(["red", "dog", "a", "of", *SPECIAL])})
WORDS = [0, 1, 2, 3]
V = len(WORD_MAP)
NO_PRODUCTS = Products(torch.float64, *[torch.nn.Identity()] * 5)
by_score = partial(DecodingOptions, consensus=False)


@dataclass
class ScriptedDecoder:
    """A decoder whose scores depend on the photo and the last two words; alpha points at the last.

    ``table[photo, word before last, last word]`` holds the next word's scores; the hidden state
    carries the photo and the two words.
    """

    table: torch.Tensor  # (B, V, V, V)

    def memory(self, grid: torch.Tensor) -> Memory:
        return Memory(grid, grid, NO_PRODUCTS)

    def init_state(self, grid: torch.Tensor) -> DecoderState:
        photos = grid[:, :1, 0]
        hidden = torch.stack([photos, torch.zeros_like(photos), torch.zeros_like(photos)], dim=-1)
        return DecoderState(hidden, hidden)

    def step(
        self, tokens: torch.Tensor, state: DecoderState, memory: Memory
    ) -> tuple[DecoderState, torch.Tensor]:
        assert len(memory.grid) == len(tokens)
        photo, last, _ = state.rows_to_beams(state.hidden).unbind(-1)
        hidden = torch.stack([photo, tokens.to(photo), last], dim=-1)
        alpha = torch.nn.functional.one_hot(tokens, V).to(photo)
        return DecoderState(hidden, hidden), alpha

    def scores(self, hidden: torch.Tensor) -> torch.Tensor:
        photo, last, before = hidden.long().unbind(-1)
        return self.table[photo, before, last].clone()

    def grid(self, photos: list[int] | None = None) -> torch.Tensor:
        chosen = range(len(self.table)) if photos is None else photos
        return torch.tensor(chosen, dtype=self.table.dtype).view(-1, 1, 1).expand(-1, V, 1)

    def log_probs(self, photo: int, words: list[int]) -> list[float]:
        """Return the log-probabilities of the words and the end, one by one."""
        path, found = [0, WORD_MAP.start, *words], []
        for i, word in enumerate([*words, WORD_MAP.end]):
            row = self.table[photo, path[i], path[i + 1]].log_softmax(-1)
            found.append(row[word].item())
        return found


def scripted(photos: int, seed: int, end: float = 0.0) -> ScriptedDecoder:
    generator = torch.Generator().manual_seed(seed)
    table = 2 * torch.randn(photos, V, V, V, generator=generator, dtype=torch.float64)
    table[..., WORD_MAP.end] += end
    for never in (WORD_MAP.pad, WORD_MAP.start, WORD_MAP.unk):
        table[..., never] = 4.0
    return ScriptedDecoder(table)


def may_follow(words: Sequence[int], word: int, word_map: WordMap = WORD_MAP) -> bool:
    content_again = word in words and word_map.words[word] in ("red", "dog")
    return not content_again and (not words or words[-1] != word)


def exhaustive(
    decoder: ScriptedDecoder,
    photo: int,
    max_length: int,
    penalty: float,
    word_map: WordMap = WORD_MAP,
) -> list[tuple[float, list[int]]]:
    found = []
    for length in range(1, max_length + 1):
        for words in itertools.product(WORDS, repeat=length):
            if not all(may_follow(words[:i], word, word_map) for i, word in enumerate(words)):
                continue
            log_prob = sum(decoder.log_probs(photo, list(words)))
            found.append((log_prob / (length + 1) ** penalty, list(words)))
    return sorted(found, reverse=True)


def plain_beam_search(
    decoder: ScriptedDecoder,
    photo: int,
    options: DecodingOptions,
    word_map: WordMap = WORD_MAP,
    shortfall: float = math.inf,
) -> list[tuple[float, list[int]]]:
    """Search by the definition, one hypothesis at a time, without any early stop."""
    running: list[tuple[float, list[int]]] = [(0.0, [])]
    finished = []
    for t in range(options.max_length + 1):
        going_on = []
        for total, words in running:
            path = [0, WORD_MAP.start, *words]
            row = decoder.table[photo, path[-2], path[-1]].log_softmax(-1)
            allowed = [WORD_MAP.end] if t == options.max_length else [*WORDS, WORD_MAP.end]
            of_words = sorted(
                (
                    (row[word].item(), word)
                    for word in allowed
                    if (t or word != WORD_MAP.end) and may_follow(words, word, word_map)
                ),
                reverse=True,
            )
            for log_prob, word in of_words:
                if word != WORD_MAP.end:
                    going_on.append((total + log_prob, [*words, word]))
                elif (log_prob, word) in of_words[: options.beam_size]:
                    score = (total + log_prob) / (t + 1) ** options.length_penalty
                    finished.append((score, words))
        running = sorted(going_on, reverse=True)[: options.beam_size]
        if options.consensus and len(finished) >= options.num_captions:
            last = sorted(finished, reverse=True)[options.num_captions - 1][0]
            needed = last * (t + 2) ** options.length_penalty - shortfall
            running = [beam for beam in running if beam[0] > needed]
    return sorted(finished, reverse=True)[: options.num_captions]


def check(found: list[Hypothesis], wanted: list[tuple[float, list[int]]]) -> None:
    assert [h.tokens for h in found] == [words for _, words in wanted]
    assert [h.score for h in found] == pytest.approx([score for score, _ in wanted])


@pytest.mark.parametrize("max_length", [1, 2])
@pytest.mark.parametrize("penalty", [0.0, 0.7, 2.0])
@pytest.mark.parametrize("end", [-3.0, 0.0, 3.0])
def test_a_wide_beam_finds_the_best_of_all(max_length: int, penalty: float, end: float) -> None:
    decoder = scripted(4, seed=1, end=end)
    options = by_score(20, 20, max_length, penalty)  # 4 ** 2 running captions at most
    for photo, found in enumerate(beam_search(decoder, decoder.grid(), WORD_MAP, options)):
        check(found, exhaustive(decoder, photo, max_length, penalty)[:20])


@pytest.mark.parametrize("beam_size", [1, 2, 3, 5, 10, 20])
@pytest.mark.parametrize("max_length", [1, 2, 3, 7])
@pytest.mark.parametrize("penalty", [0.0, 0.7])
def test_every_beam_is_the_plain_beam_search(
    beam_size: int, max_length: int, penalty: float
) -> None:
    """Neither early stops nor photos that leave the batch change the result."""
    decoder = scripted(9, seed=beam_size)
    for num_captions in {1, beam_size}:
        options = by_score(beam_size, num_captions, max_length, penalty)
        for photo, found in enumerate(beam_search(decoder, decoder.grid(), WORD_MAP, options)):
            check(found, plain_beam_search(decoder, photo, options))


@pytest.mark.parametrize("beam_size", [2, 3, 10])
def test_with_consensus_beams_far_behind_are_given_up(
    beam_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "model.hypotheses.by_consensus", lambda captions, *_: range(len(captions))
    )  # so that the order is that of the definition
    monkeypatch.setattr("model.beam_search.SHORTFALL", -1.0)
    decoder, changed = scripted(30, seed=beam_size, end=1.0), 0
    for num_captions in (1, beam_size):
        options = DecodingOptions(beam_size, num_captions, 7, length_penalty=2.0)
        for photo, found in enumerate(beam_search(decoder, decoder.grid(), WORD_MAP, options)):
            wanted = plain_beam_search(decoder, photo, options, shortfall=-1.0)
            scores = [score for score, _ in wanted]  # several captions may have the same one
            assert [h.score for h in found] == pytest.approx(scores)
            changed += wanted != plain_beam_search(decoder, photo, options)
    assert changed


def test_beams_that_do_not_run_are_not_computed_on_a_cpu() -> None:
    class Counting(ScriptedDecoder):
        rows = 0

        def scores(self, hidden: torch.Tensor) -> torch.Tensor:
            self.rows += hidden.shape[:-1].numel()
            return super().scores(hidden)

    decoder = Counting(scripted(9, seed=5, end=3.0).table)
    options = DecodingOptions(10, 1, 7)
    beam_search(decoder, decoder.grid(), WORD_MAP, options)
    steps = options.max_length + 1
    assert 0 < decoder.rows < 9 * 10 * steps / 2


@pytest.mark.parametrize("beam_size", [1, 3, 20])
def test_no_english_content_word_is_said_twice(beam_size: int) -> None:
    decoder = scripted(9, seed=4, end=-6.0)
    options = by_score(beam_size, 1, 6)
    found = beam_search(decoder, decoder.grid(), ENGLISH, options)
    for photo, captions in enumerate(found):
        check(captions, plain_beam_search(decoder, photo, options, ENGLISH))
    tokens = [caption[0].tokens for caption in found]
    assert any(words.count(word) > 1 for words in tokens for word in (2, 3)), "a, of"
    may_repeat = [h[0].tokens for h in beam_search(decoder, decoder.grid(), WORD_MAP, options)]
    assert any(words.count(word) > 1 for words in may_repeat for word in (0, 1)), "not English"


def test_a_wide_beam_finds_the_best_of_all_in_english() -> None:
    decoder = scripted(4, seed=3)
    for photo, found in enumerate(
        beam_search(decoder, decoder.grid(), ENGLISH, by_score(20, 20, 2, 0.7))
    ):
        check(found, exhaustive(decoder, photo, 2, 0.7, ENGLISH)[:20])


@pytest.mark.parametrize("beam_size", [2, 3, 5])
def test_a_beam_never_beats_exhaustive_search(beam_size: int) -> None:
    decoder = scripted(20, seed=9)
    options = by_score(beam_size, max_length=3, length_penalty=0.0)
    found = beam_search(decoder, decoder.grid(), WORD_MAP, options)
    best = [exhaustive(decoder, photo, 3, 0.0)[0] for photo in range(20)]
    assert all(h[0].score <= b[0] + 1e-9 for h, b in zip(found, best, strict=True))
    assert any(h[0].tokens == b[1] for h, b in zip(found, best, strict=True))


def test_greedy_is_beam_1() -> None:
    decoder = scripted(30, seed=2)
    options = DecodingOptions(1, max_length=12, length_penalty=0.0)
    found = beam_search(decoder, decoder.grid(), WORD_MAP, options)
    for photo, (hypothesis,) in enumerate(found):
        words: list[int] = []
        while len(words) < 12:
            path = [0, WORD_MAP.start, *words]
            row = decoder.table[photo, path[-2], path[-1]].clone()
            row[[WORD_MAP.pad, WORD_MAP.start, WORD_MAP.unk, path[-1]]] = -torch.inf
            if not words:
                row[WORD_MAP.end] = -torch.inf
            if (word := int(row.argmax())) == WORD_MAP.end:
                break
            words.append(word)
        assert hypothesis.tokens == words


def test_n_best_does_not_change_the_best() -> None:
    decoder = scripted(10, seed=3)
    for penalty in (0.0, 1.0):
        one = beam_search(decoder, decoder.grid(), WORD_MAP, by_score(5, 1, 8, penalty))
        five = beam_search(decoder, decoder.grid(), WORD_MAP, by_score(5, 5, 8, penalty))
        for single, many in zip(one, five, strict=True):
            assert single[0].tokens == many[0].tokens
            scores = [h.score for h in many]
            assert scores == sorted(scores, reverse=True)
            assert len({tuple(h.tokens) for h in many}) == 5


def test_the_fields_of_a_hypothesis() -> None:
    decoder = scripted(6, seed=4)
    options = by_score(4, 4, 5, length_penalty=0.5)
    for photo, found in enumerate(beam_search(decoder, decoder.grid(), WORD_MAP, options)):
        for h in found:
            log_probs = decoder.log_probs(photo, h.tokens)
            assert h.log_prob == pytest.approx(sum(log_probs))
            assert h.score == pytest.approx(h.log_prob / math.sqrt(len(h.tokens) + 1))
            assert h.token_log_probs == pytest.approx(log_probs[:-1])
            # The scripted decoder looks at the position of the word it reads.
            assert h.alphas.argmax(-1).tolist() == [WORD_MAP.start, *h.tokens[:-1]]
            assert not {WORD_MAP.pad, WORD_MAP.start, WORD_MAP.unk, WORD_MAP.end} & set(h.tokens)
            assert all(word != following for word, following in itertools.pairwise(h.tokens))


@pytest.mark.parametrize("beam_size", [1, 3])
def test_a_caption_comes_out_when_no_beam_ends(beam_size: int) -> None:
    decoder = scripted(3, seed=5, end=-1e4)
    options = DecodingOptions(beam_size, beam_size, max_length=6)
    for found in beam_search(decoder, decoder.grid(), WORD_MAP, options):
        assert len(found) == beam_size
        assert all(len(h.tokens) == 6 and math.isfinite(h.log_prob) for h in found)


def test_a_caption_has_a_word_even_if_the_end_comes_first() -> None:
    decoder = scripted(3, seed=5, end=50)
    for found in beam_search(decoder, decoder.grid(), WORD_MAP, DecodingOptions(3, 3)):
        assert all(len(h.tokens) == 1 for h in found)


def test_a_character_may_follow_itself_where_a_word_may_not() -> None:
    decoder = scripted(1, seed=8)
    for before, last, following in ((0, WORD_MAP.start, 0), (WORD_MAP.start, 0, 0)):
        decoder.table[0, before, last, following] = 50
    decoder.table[0, 0, 0, WORD_MAP.end] = 50
    characters = WordMap({word: i for i, word in enumerate(["妈", "x", "y", "z", *SPECIAL])})
    options = DecodingOptions(max_length=4)
    [[of_words]] = beam_search(decoder, decoder.grid(), WORD_MAP, options)
    [[of_characters]] = beam_search(decoder, decoder.grid(), characters, options)
    assert of_words.tokens[:2] != [0, 0]
    assert of_characters.tokens == [0, 0]
    assert of_characters.log_prob == pytest.approx(sum(decoder.log_probs(0, [0, 0])))


def test_captions_of_characters_may_have_more_of_them() -> None:
    decoder = scripted(1, seed=5, end=-1e4)
    characters = WordMap({word: i for i, word in enumerate([*"一二三四", *SPECIAL])})
    [[found]] = beam_search(decoder, decoder.grid(), characters, DecodingOptions(max_length=3))
    assert len(found.tokens) == characters.max_tokens(3) == 3 * CHARACTERS_PER_WORD


def attend_in_turn(state: DecoderState, memory: Memory) -> Future[Attended]:
    """Attend ahead, as another thread would."""
    done: Future[Attended] = Future()
    done.set_result(attend(state, memory))
    return done


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("options", [DecodingOptions(1), DecodingOptions(5, 5, 9, 0.7)])
def test_batched_equals_single(
    network: ShowAttendTell,
    word_map: WordMap,
    options: DecodingOptions,
    device: torch.device,
    ahead: bool,
) -> None:
    network.double().to(device)
    generator = torch.Generator().manual_seed(0)
    grid = torch.randn(
        7, 9, network.encoder.feature_size, generator=generator, dtype=torch.float64
    ).to(device)
    together = beam_search(network.decoder, grid, word_map, options)
    assert len({tuple(found[0].tokens) for found in together}) > 2  # the photos do differ
    begin = attend_in_turn if ahead else None
    for photo, found in zip(grid, together, strict=True):
        (alone,) = beam_search(network.decoder, photo.unsqueeze(0), word_map, options, begin)
        for one, many in zip(alone, found, strict=True):
            assert one.tokens == many.tokens
            assert one.log_prob == pytest.approx(many.log_prob, abs=1e-12)
            torch.testing.assert_close(one.alphas, many.alphas)


@pytest.mark.parametrize("options", [by_score(4, 1, 10), by_score(4, 4, 10), DecodingOptions(4, 4)])
def test_checking_rarely_which_photos_still_run_changes_nothing(
    options: DecodingOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = scripted(20, seed=6)
    always = beam_search(decoder, decoder.grid(), WORD_MAP, options)
    monkeypatch.setattr("model.beam_search.CHECK_EVERY", {})
    seldom = beam_search(decoder, decoder.grid(), WORD_MAP, options)
    for one, other in zip(always, seldom, strict=True):
        assert [h.tokens for h in one] == [h.tokens for h in other]
        assert [h.score for h in one] == pytest.approx([h.score for h in other])


def test_log_prob_is_what_teacher_forcing_gives(network: ShowAttendTell, word_map: WordMap) -> None:
    network.double()
    generator = torch.Generator().manual_seed(1)
    grid = torch.randn(1, 9, network.encoder.feature_size, generator=generator).double()
    for h in beam_search(network.decoder, grid, word_map, DecodingOptions(5, 5))[0]:
        caption = torch.tensor([[word_map.start, *h.tokens, word_map.end]])
        forced = network.decoder(grid, caption, torch.tensor([caption.shape[1]]))
        log_probs = forced.scores.data.log_softmax(-1)
        chosen = log_probs.gather(1, caption[0, 1:, None]).sum().item()
        assert h.log_prob == pytest.approx(chosen)
        torch.testing.assert_close(h.alphas, forced.alphas[0, :-1].detach())


def test_scores_that_are_not_numbers_are_an_error() -> None:
    decoder = scripted(1, seed=0)
    decoder.table[:] = math.nan
    with pytest.raises(ValueError, match="not finite"):
        beam_search(decoder, decoder.grid(), WORD_MAP, DecodingOptions())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"beam_size": 0}, r"beam_size is 0; .* 1\.\.20"),
        ({"beam_size": 3.0}, "beam_size is 3.0"),
        ({"beam_size": True}, "beam_size is True"),
        ({"max_length": 101}, "max_length is 101"),
        ({"num_captions": 11}, "num_captions is 11; it must be at most beam_size, 10"),
        ({"length_penalty": -0.1}, "length_penalty is -0.1"),
        ({"length_penalty": math.nan}, "length_penalty is nan"),
        ({"length_penalty": "1"}, "length_penalty is '1'"),
        ({"consensus": 1}, "consensus is 1; it must be true or false"),
    ],
)
def test_options_say_what_is_allowed(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DecodingOptions(**values)
