"""Lists of English words: which may end a caption, and which it may well say twice."""

from __future__ import annotations

# English words that cannot be the last of a finished caption.
# fmt: off
UNFINISHED = frozenset([
    "a", "an", "the", "and", "or", "of", "with", "without", "in", "into", "on", "onto", "upon",
    "at", "by", "for", "from", "to", "near", "next", "behind", "beside", "between", "under",
    "through", "before", "after", "against", "as", "while", "that", "his", "her", "its", "their",
    "is", "are", "am",
])
# English words that a good caption may well say twice. All others are content words.
FUNCTION_WORDS = UNFINISHED | frozenset([
    "'s", "n't", "'re", "'ve", "'ll", "'d", "'m",
    "about", "above", "across", "along", "among", "around", "away", "below", "beneath", "down",
    "during", "inside", "like", "off", "out", "outside", "over", "past", "toward", "towards", "up",
    "within", "but", "if", "nor", "so", "than", "then", "when", "where", "which", "who", "whose",
    "what", "not", "no", "be", "been", "being", "was", "were", "has", "have", "having", "had", "do",
    "does", "doing", "did", "can", "could", "will", "would", "i", "you", "he", "she", "it", "we",
    "they", "him", "them", "me", "us", "my", "your", "our", "hers", "this", "these", "those",
    "there", "here", "some", "any", "each", "both", "all", "other", "another", "one", "two",
    "three", "four", "five", "also", "too", "very", "it's", "there's",
])
# fmt: on
