"""A whole run: read the data, align, tune, and leave a finished model folder behind.

    out/recipe.json  run.json     what the run is (`record.py`)
    out/metrics.jsonl …           what happened (`log.py`)
    out/checkpoints/<stage>/      how far it came (`checkpoint.py`); gone when the stage is done
    out/features/                 what the frozen tower saw, where that is kept (`features.py`)
    out/aligned/                  the model between the stages, whole and loadable
    out/model/                    the finished model, or the adapter that lies over a finished one
    out/best/                     the same at the step of its best figure, where one is followed (`best.py`)
    out/report.json               steps, samples, seconds, what was rejected and why

The same command goes on where a killed one stopped, and a finished run does nothing. A stage always begins
from a folder (the parts, or `aligned/`), so a resumed run and an undisturbed one take the same road.
"""

from __future__ import annotations

import gc
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seetell.config import differences, freeze
from seetell.console import command, say
from seetell.encode.processor import Processor
from seetell.errors import SeetellError, UsageError
from seetell.files import check_manifest, read_json, write_json
from seetell.model.adapter import save_adapter
from seetell.model.folders import model_folder
from seetell.model.limits import Limit, longest_document
from seetell.model.vlm import VLM
from seetell.model.weights import load_model, save_model
from seetell.publish import publish
from seetell.train.best import BEST, best_weights, find_best, holding
from seetell.train.cadence import cadence_in_words
from seetell.train.checkpoint import KEPT, full_disk_told, load_checkpoint
from seetell.train.computing import arrange, choose_computing, choose_for_memory
from seetell.train.counts import fullest_loads
from seetell.train.data import Samples, read_samples, told
from seetell.train.features import Eye, Features
from seetell.train.held_out_loss import held_out_of
from seetell.train.keeping import Wanted, check_saving
from seetell.train.log import Progress, RunLog
from seetell.train.loop import Learner, Watch, fit
from seetell.train.observing import Observer
from seetell.train.optimizer import build_optimizer
from seetell.train.outline import outline
from seetell.train.pictures import feed
from seetell.train.plan import Plan
from seetell.train.preflight import preflight, within
from seetell.train.ranks import Ranks, join
from seetell.train.recipe import Recipe
from seetell.train.record import Record, check_data, check_parts, only_run, open_record, part_folders, stamps_of
from seetell.train.room import LEAST, check_room
from seetell.train.run_files import is_finished, target_of
from seetell.train.same_bits import fix_workspace
from seetell.train.sharding import Shards, is_sharded
from seetell.train.sharing import stage_plan
from seetell.train.show import show_samples
from seetell.train.start import (
    learned_weights,
    model_tokenizer,
    opens_in,
    ready_model,
    settled,
    stage_processor,
    stage_types,
    start_model,
    type_of_learning,
    with_learned,
)
from seetell.train.stopping import stop_signals
from seetell.train.work import Load


def train(
    recipe: Recipe,
    out: str | Path,
    *,
    device: str = "auto",
    stages: Sequence[str] = ("align", "tune"),
    observers: Sequence[Observer] = (),
    observe_every: int = 0,
    checkpoint_every_s: float | None = None,
    keep: int = KEPT,
    best: Wanted | None = None,
    threads: int | None = None,
) -> Path:
    """Runs the recipe's stages that `stages` names; returns the folder of the last one's model."""
    out = Path(out)
    recipe = settled(recipe, out)
    wanted = [name for name in recipe.stages if name in stages]
    if not wanted:
        raise UsageError(f"The recipe has the stages {', '.join(recipe.stages)}, and none of them was asked for.")
    check_saving(recipe, keep, best, is_observed=bool(observe_every and observers))
    fix_workspace()
    with join(device) as ranks, stop_signals() as stop, full_disk_told(out), ExitStack() as held:
        record = ranks.on_main(lambda: _begin(recipe, out, device, ranks, held, threads))
        torch.set_num_threads(record.threads)  # sums are split by threads: their last bits depend on how many there are
        if ranks.on_main(lambda: is_finished(target_of(recipe, out, wanted[-1]))):
            say(f"The run in {out} is finished; there is nothing left to do.")
        else:
            say(cadence_in_words(checkpoint_every_s, keep))
            watch = Watch(out, checkpoint_every_s, observers, observe_every, stop.asked, keep, best)
            _Run(recipe, out, record, watch, ranks).go(wanted)
            stop.end_if_asked(ranks)
        model = target_of(recipe, out, wanted[-1])
        say(f"The model is in {model}; talk to it: {command('chat', model)}")
    return model


def _begin(recipe: Recipe, out: Path, device: str, ranks: Ranks, held: ExitStack, threads: int | None) -> Record:
    """Takes the run's folder, until `held` is let go."""
    out.mkdir(parents=True, exist_ok=True)
    held.enter_context(only_run(out))
    return open_record(recipe, out, device, ranks.count, threads)


class _Run:
    """A run in progress."""

    def __init__(self, recipe: Recipe, out: Path, record: Record, watch: Watch, ranks: Ranks) -> None:
        self.recipe, self.out, self.record, self.watch, self.ranks = recipe, out, record, watch, ranks
        self.shards: Shards | None = None  # of the model in hand
        self.stamps: dict[Path, tuple[int, int]] = {}  # of the files that it was read from

    def go(self, wanted: Sequence[str]) -> None:
        """The stages in order; each that is done already is passed by."""
        to_do = [name for name in wanted if not is_finished(target_of(self.recipe, self.out, name))]
        model, stages = self.recipe.model, self.recipe.stages
        self.ranks.together(lambda: self.check(to_do))
        vlm: VLM | None = self.start(to_do[0])
        today = date.fromisoformat(self.record.date)
        processors = {n: stage_processor(model, stage, vlm, today) for n, stage in stages.items()}
        # All data is read before anything learns: a bad file of the last stage is told now, not in hours.
        needed = [name for name in wanted if name in to_do or stages[name].cache_features]
        limit = longest_document(vlm.language.config)
        samples = self.ranks.together(lambda: self.read(needed, processors, limit))
        ids = {name: processors[name].tokenizer.image_id for name in to_do}
        plans = {name: stage_plan(stages[name], samples[name], self.recipe.seed, ids[name]) for name in to_do}
        loads = {name: fullest_loads(samples[name], plans[name], self.ranks.count) for name in to_do}
        self.ranks.together(lambda: self.check(to_do, loads))
        self.ranks.on_main(lambda: self.tidy(set(wanted) - set(to_do)))
        for name in to_do:
            if vlm is None:
                vlm = self.start(name)
            features = self.look(name, vlm, processors, samples)
            if not self.stage(name, vlm, processors[name], samples[name], plans[name], features):
                return
            trained = learned_weights(vlm, self.ranks) if self.recipe.stages[name].lora is None else vlm
            vlm = self.shards = None  # let go before another one is read, to be written or to learn: two may not fit
            gc.collect()  # what FSDP2 and bitsandbytes put into a model points back at it
            last = list(processors.values())[-1]
            self.ranks.on_main(partial(self.finish, name, trained, last))
            del trained

    def check(self, names: Sequence[str], loads: Mapping[str, Sequence[Load]] | None = None) -> None:
        """Refuses a run if a stage cannot be trained here or, with `loads`, if its micro-batches do not fit."""
        shapes = outline(self.recipe.model, model_tokenizer(self.recipe.model))
        if loads is None:
            preflight(self.recipe, names, shapes, self.ranks.device)
        for name in names:
            stage = self.recipe.stages[name]
            chosen = self.chosen(name, shapes)
            load = (loads or {}).get(name, LEAST)
            can_lora = self.recipe.can_lora(name)
            check_room(name, stage, shapes, chosen, self.ranks.device, self.ranks.count, load, can_lora)

    def read(
        self, names: Sequence[str], processors: Mapping[str, Processor], limit: Limit | None
    ) -> dict[str, Samples]:
        """The samples of those stages, none beyond what the language model can read; every rank reads all, for any of
        them may meet any sample."""
        stages = {name: within(self.recipe.stages[name], limit, name) for name in names}
        samples = {name: read_samples(stages[name], processors[name], self.recipe.seed, name) for name in names}
        digests = {name: read.digest() for name, read in samples.items()}
        for name, digest in digests.items():
            check_data(self.record, self.out, name, digest, writes=self.ranks.main)
        return samples

    def tidy(self, done: Iterable[str]) -> None:
        """Removes the checkpoints of stages that are done: a kill may have fallen between the model and that."""
        for name in done:
            shutil.rmtree(self.out / "checkpoints" / name, ignore_errors=True)

    def start(self, name: str) -> VLM:
        """The model as the stage finds it, always read from a folder, and readied for it.

        One that is cut into shards is never whole on a device, and on its host only as the pages of its files.
        """
        stage, ranks = self.recipe.stages[name], self.ranks
        self.stamps = stamps_of(self.places(name))
        vlm = ranks.together(lambda: self.load(name))
        say(f"{opens_in(vlm)}.")
        # One choice for all, the main rank's: on cards that differ each would choose for itself.
        chosen = ranks.broadcast(ranks.together(lambda: self.chosen(name, vlm)))
        self.record.chosen[name] = chosen
        precision, sharded = self.precision(name, vlm), is_sharded(stage, ranks)
        ranks.together(lambda: arrange(vlm, chosen, ranks.device))
        ranks.together(lambda: ready_model(vlm, stage, precision, self.recipe.seed, ranks.device, sharded))
        types, roomy = stage_types(vlm, stage, precision), chosen["roomy"] == "on"
        self.shards = Shards(vlm, ranks, precision, types, roomy) if sharded else None
        return vlm

    def load_again(self, name: str) -> VLM:
        """The same at the stage's end, which must still be what it was: the rest learned beside it."""
        if stamps_of(self.places(name)) != self.stamps:  # written again, perhaps as it was
            if below := self.below(name):
                check_manifest(below)
            else:
                check_parts(self.record, self.out, self.recipe.model)
        return self.load(name, again=True)

    def places(self, name: str) -> list[Path]:
        """The folders that the stage's model is read from; what is no folder here is named on the hub."""
        below = self.below(name)
        return [below] if below else list(part_folders(self.recipe.model).values())

    def load(self, name: str, again: bool = False) -> VLM:
        """What the stage goes on from, as it is stored; `again` looks for nothing newer on the hub."""
        folder = self.below(name)
        if folder is None:
            return start_model(self.recipe, again=again)
        if not is_finished(folder):
            raise UsageError(f"{name} starts from {folder}, which is not there yet: run align first.")
        return load_model(folder)

    def below(self, name: str) -> Path | None:
        """The model that the stage before left; None for the first."""
        before = list(self.recipe.stages).index(name) - 1
        return None if before < 0 else target_of(self.recipe, self.out, list(self.recipe.stages)[before])

    def chosen(self, name: str, vlm: VLM) -> dict[str, str]:
        """How the stage is computed: chosen once, then read from the record.

        What memory decides is chosen anew on another number of ranks, each of which then holds more or less.
        """
        stage, chosen = self.recipe.stages[name], self.record.chosen.get(name, {})
        if int(chosen.get("ranks", 0)) != self.ranks.count:
            device, shards = self.ranks.device, self.ranks.count if is_sharded(stage, self.ranks) else 1
            if chosen:
                found = chosen | choose_for_memory(stage, vlm, device, shards, chosen)
                if changes := differences(chosen, {what: found[what] for what in chosen}):
                    say(f"{name} is computed differently on {self.ranks.count} ranks, for their memory: {changes[0]}.")
            else:
                found = choose_computing(stage, vlm, device, shards)
            self.record.chosen[name] = found | {"ranks": str(self.ranks.count)}
            if self.ranks.main:
                self.record.save(self.out)
        return self.record.chosen[name]

    def precision(self, name: str, vlm: VLM) -> torch.dtype:
        """What matrix products are computed in."""
        return torch.bfloat16 if self.chosen(name, vlm)["precision"] == "bfloat16" else torch.float32

    def look(
        self, name: str, vlm: VLM, processors: dict[str, Processor], samples: dict[str, Samples]
    ) -> Features | None:
        """The tower's features of this stage's pictures and of those that are seen alike in other stages, when kept.

        All of them, in the recipe's order, also when an earlier stage is done: see `Features.look`.
        """
        if not self.recipe.stages[name].cache_features:
            return None
        processor = processors[name].image_processor
        keeping = [n for n in samples if self.recipe.stages[n].cache_features]
        sharing = [n for n in keeping if processors[n].image_processor == processor]
        images = (image for n in sharing for image in samples[n].all_images())
        features = Features(self.out / "features")
        features.look(Eye(vlm, processor, self.precision(name, vlm)), images, self.ranks)
        return features

    def stage(
        self, name: str, vlm: VLM, processor: Processor, samples: Samples, plan: Plan, features: Features | None
    ) -> bool:
        """Trains one stage from its last checkpoint on; false when it was interrupted."""
        stage = self.recipe.stages[name]
        optimizer = build_optimizer(vlm, stage, self.recipe.seed)
        checkpoints = self.watch.checkpoints / "checkpoints" / name
        state = load_checkpoint(checkpoints, vlm, optimizer, self.ranks) or Progress()
        log = RunLog(self.out, name, state.step, plan.steps, writes=self.ranks.main)
        try:
            for row, rejected in samples.rejected:
                log.refuse(row, rejected)
            if state.step:
                say(f"{name} resumes after step {state.step} of {plan.steps}.")
            else:
                if log.lost_steps:
                    say(f"{name} starts anew: its last run stopped before it had saved a checkpoint.")
                show_samples(samples, processor, name)
            learner = Learner(
                vlm, optimizer, stage, self.precision(name, vlm), self.ranks, samples.sources, self.shards
            )
            share = self.ranks.rank, self.ranks.count
            pin = self.ranks.device.type == "cuda"
            data = feed(plan, samples, processor.image_processor, features, state.step, *share, pin=pin)
            best = self.watch.best if name == self.recipe.last_stage else None
            watch = replace(self.watch, checkpoints=checkpoints, best=best)
            held_out = held_out_of(stage, samples, plan, processor.image_processor, features)
            if held_out is not None:
                say(f"{name}: {held_out.said()}")
            finished = fit(learner, processor, plan, data, state, log, watch, held_out)
            log.event("finished" if finished else "stopped", state.step)
        except SeetellError as error:
            log.event("failed", state.step, error=str(error))
            raise
        finally:
            log.close()
        if finished and self.ranks.main:
            self.report(name, plan, state, log)
            self.sum_up(name, samples, state, log)
        return finished

    def sum_up(self, name: str, samples: Samples, state: Progress, log: RunLog) -> None:
        """Says what the stage did not learn from, and why."""
        left_out = sum(log.refused_reasons.values())
        reasons = f": {told(log.refused_reasons)}" if left_out else ""
        say(f"{name}: {left_out} of {len(samples.names) + len(samples.rejected)} samples rejected{reasons}.")
        if state.not_finite:
            say(
                f"{name}: {state.not_finite} of {state.step} steps were not taken, because their loss was not finite; "
                f"their samples are named in {log.not_finite_file}."
            )

    def finish(self, name: str, trained: VLM | Mapping[str, Tensor], processor: Processor) -> None:
        """Writes the stage's model folder whole, then forgets its checkpoints.

        A whole model is what the stage began with, read once more, and the weights that it learned: what it made of
        the others is let go by then. With LoRA the trained model's adapter is written alone.

        It is saved with the last stage's processor: an aligned model is asked in the words it
        will be tuned in, for the language model itself knows no others.
        """
        if (found := find_best(self.out / "checkpoints" / name)) is not None:
            best, path = found
            weights = best_weights(path)
            with holding(trained, weights) if isinstance(trained, VLM) else nullcontext(weights) as learned:
                self.write(self.out / BEST, name, learned, processor)
            say(f"The best model by {best.figure}, {best.value:.4g} at step {best.step}, is in {self.out / BEST}.")
        self.write(target_of(self.recipe, self.out, name), name, trained, processor)
        shutil.rmtree(self.out / "checkpoints" / name, ignore_errors=True)

    def write(self, target: Path, name: str, trained: VLM | Mapping[str, Tensor], processor: Processor) -> None:
        """Writes a model that the stage made, whole or as an adapter."""
        stage = self.recipe.stages[name]
        with publish(target, replaces=True) as writing:
            processor.save(writing)
            if isinstance(trained, VLM):
                bits = 16 if stage.lora is None else stage.lora.bits
                save_adapter(trained, writing, self.below(name) or model_folder(self.recipe.model.start), bits)
            else:
                whole = with_learned(self.load_again(name), trained, type_of_learning(stage))
                save_model(whole, writing, stop_ids=sorted(processor.stop_ids))

    def report(self, name: str, plan: Plan, state: Progress, log: RunLog) -> None:
        """Adds the stage to report.json."""
        path = self.out / "report.json"
        report: dict[str, Any] = read_json(path) if path.exists() else {}
        report.setdefault("stages", {})[name] = {
            **freeze(state),
            "steps": plan.steps,
            "samples_per_second": round(state.samples / state.seconds, 2) if state.seconds else None,
            "data_wait_share": round(state.data_wait_s / state.seconds, 4) if state.seconds else None,
            **self.record.chosen[name],
            "refused": dict(sorted(log.refused_reasons.items())),
            "failed_observations": dict(sorted(log.failed_observations.items())),
        }
        report["model"] = str(target_of(self.recipe, self.out, name))
        write_json(path, report)
