"""Checks the model that ships: right answers to held-out questions by skill, and the texts that tests expect.

    python check.py                    appends the accuracy to training.log, writes chord-tiny.expected.json
"""

import argparse
import json
from pathlib import Path

import jinja2

import skills
from corpus import ABOUT_USER, Corpus
from reference import Model

HERE = Path(__file__).parent
CHATS = [
    ["Hello!"],
    ["Who are you?"],
    ["What is wasm-chord?"],
    ["What is the capital of France?", "And Japan?"],
    ["what is 7 + 5"],
    ["What colour is the sky?", "What is the opposite of hot?"],
    ["My name is Anna.", "Count from 3 to 9.", "What is my name?"],
    ["Tell me a story about a fox.", "Thank you!"],
    ["What is the meaning of life?"],
]
COMPLETIONS = ["Once upon a time", "The capital of Italy is", "One day, a little mouse named"]
ENCODINGS = ["", "Hello, world!", "  two  spaces ", "line\n\nbreaks\n", "don't you'll WE'RE",
             "héllo wörld 日本語 🙂", "12 + 345 = 357", "<|im_end|> stays text", "tab\tand\u00a0nbsp", "wasm-chord runs in your browser."]


def answer(model, messages):
    """The text of the greedy answer to `(role, text)` messages."""
    ids, _ = model.greedy(model.chat_ids(messages), 160)
    return model.tokenizer.decode(ids)


def accuracy(model, questions):
    """How many of `(question, answer)` are answered in exactly these words, as `right/asked`."""
    right = sum(answer(model, [("user", asked)]) == expected for asked, expected in questions)
    return f"{right}/{len(questions)}" if questions else "-"


def distinct(draw, wanted):
    """Up to `wanted` different results of a function."""
    found = {}
    for _ in range(wanted * 5):
        found.setdefault(*draw())
        if len(found) == wanted:
            break
    return list(found.items())


def measure(model, count, log):
    """Accuracy by skill on held-out combinations of wording and item, and on wordings that no training text has."""
    source = Corpus("accuracy", True)
    log("skill | held-out combinations | wordings never seen")
    for skill in skills.item_skills():
        unseen = distinct(lambda: source.question(skill, skill.unseen), count) if skill.unseen else []
        combined = distinct(lambda: source.question(skill), count)
        log(f"{skill.name} | {accuracy(model, combined)} | {accuracy(model, unseen)}")
    for trained, kept in skills.fixed_skills():
        unseen = [(item["q"], item["k"]) for item in kept.items]
        combined = distinct(lambda: source.question(trained), count)
        log(f"{trained.name} | {accuracy(model, combined)} | {accuracy(model, unseen)}")
    log(f"refusals | {accuracy(model, distinct(source.unknown, count))} | -")
    log(f"repeating | {accuracy(model, distinct(source.copying, count))} | -")
    right = sum(answer(model, talk) == back for talk, back in (remembered(source) for _ in range(count)))
    log(f"memory of what was told | {right}/{count} | -")


def remembered(source):
    """A conversation in which something is told, something else asked, and the first thing asked back; the answer."""
    sort = source.rng.choice(sorted(ABOUT_USER))
    say, reply, ask, back, _ = ABOUT_USER[sort]
    values = source.told(sort)
    between, answered = source.question(source.skills[0])
    fill = lambda wordings: source.rng.choice(skills.split(wordings)).format(**values)
    talk = [("user", fill(say)), ("assistant", fill(reply)), ("user", between), ("assistant", answered)]
    return [*talk, ("user", fill(ask))], fill(back)


def expected_chat(model, questions):
    """A conversation of which the last answer is expected; the earlier answers are the model's own."""
    messages = []
    for question in questions:
        messages.append(("user", question))
        prompt = model.chat_ids(messages)
        ids, lead = model.greedy(prompt, 240)
        text = model.tokenizer.decode(ids)
        messages.append(("assistant", text))
    asked = [{"role": role, "content": content} for role, content in messages[:-1]]
    rendered = jinja2.Template(model.template).render(messages=asked, add_generation_prompt=True)
    return {"messages": asked, "prompt": rendered, "prompt_ids": prompt, "ids": ids, "text": text,
            "lead": round(lead, 3)}


def expected_completion(model, prompt):
    """Plain text and how the model goes on."""
    prompt_ids = model.tokenizer.encode(prompt)
    ids, lead = model.greedy(prompt_ids, 160)
    return {"prompt": prompt, "prompt_ids": prompt_ids, "ids": ids, "text": model.tokenizer.decode(ids),
            "lead": round(lead, 3)}


def expected(model):
    """What the tests of the project expect; `lead` is the smallest distance of a chosen logit to the second."""
    return {
        "eos": model.eos,
        "chats": [expected_chat(model, questions) for questions in CHATS],
        "completions": [expected_completion(model, prompt) for prompt in COMPLETIONS],
        "encodings": [{"text": text, "ids": model.tokenizer.encode(text)} for text in ENCODINGS],
    }


def main():
    """Measures and writes."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--model", type=Path, default=HERE / "chord-tiny.gguf")
    arguments.add_argument("--count", type=int, default=40, help="questions of each skill")
    arguments.add_argument("--log", type=Path, default=HERE / "training.log")
    arguments.add_argument("--expected", type=Path, default=HERE / "chord-tiny.expected.json")
    chosen = arguments.parse_args()
    model = Model(chosen.model)
    for text in ENCODINGS:
        assert model.tokenizer.decode(model.tokenizer.encode(text)) == text
    chosen.expected.write_text(json.dumps(expected(model), indent=1, ensure_ascii=False) + "\n")
    with chosen.log.open("a") as file:
        def log(line):
            print(line, flush=True)
            print(line, file=file, flush=True)

        measure(model, chosen.count, log)


if __name__ == "__main__":
    main()
