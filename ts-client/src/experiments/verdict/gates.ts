/** The gates before latency: safety, and numerics against control, the A/A floor and the float64 reference. */
import { OK, type Reference, type SafetyEvent, type Sample } from "../samples.js";

/** A candidate may be so many times as far from control, or from the reference, as control is from itself, or from the reference. */
const ABOVE_FLOOR = 2;
/** The largest difference that the op's tolerance allows, in its own unit. */
const TOLERATED = 1;

/** What the gates before latency have seen in one bucket. */
export class Gates {
  /** Why the candidate is not safe: the first reason, which is enough. */
  unsafe: string | undefined;
  /** Calls on which control itself failed, of which nothing is said of the candidate. */
  controlFailed = 0;
  /** Samples whose outputs were compared. */
  compared = 0;
  /** Samples beyond what tolerance, floor and reference allow. */
  beyond = 0;
  /** The first of those, in words. */
  firstBeyond: string | undefined;
  /** Largest difference of the candidate from control, and of control from itself, over what the tolerance allows. */
  worst = 0;
  floor = 0;
  /** Control is beyond the tolerance of the reference itself, so a difference from it says nothing. */
  controlWrong = false;
  #differing = 0;

  /** True where both ran well, so that their times may be compared. */
  sample(sample: Sample): boolean {
    // Whatever control did.
    if (sample.candidate_overran)
      this.#isUnsafe(`sample ${sample.sequence}: the candidate wrote outside its outputs`);
    if (sample.control_status !== OK) {
      this.controlFailed++;
      return false;
    }
    const at = `sample ${sample.sequence}`;
    if (sample.candidate_status !== OK)
      this.#isUnsafe(`${at}: the candidate returned ${sample.candidate_status}`);
    else if (sample.became_nonfinite > 0)
      this.#isUnsafe(`${at}: ${sample.became_nonfinite} elements are not finite where control's are`);
    else this.#compare(sample, at);
    return sample.candidate_status === OK;
  }

  event({ event, message }: SafetyEvent): void {
    this.#isUnsafe(message === "" ? event : `${event}: ${message}`);
  }

  reference({ control_worst, candidate_worst }: Reference): void {
    const control = control_worst ?? Number.POSITIVE_INFINITY;
    if (control > TOLERATED) this.controlWrong = true;
    const candidate = candidate_worst ?? Number.POSITIVE_INFINITY;
    if (candidate > Math.max(TOLERATED, ABOVE_FLOOR * control) || candidate_worst === null)
      this.#isBeyond(
        `a recorded call: ${times(candidate)} of the float64 reference, control ${times(control)}`,
      );
  }

  /** Samples that count against the candidate. */
  get failures(): number {
    return this.beyond + (this.controlWrong ? 0 : this.#differing);
  }

  #compare(sample: Sample, at: string): void {
    this.compared++;
    if (sample.floor_worst !== undefined)
      this.floor = Math.max(this.floor, sample.floor_worst ?? Number.POSITIVE_INFINITY);
    const worst = sample.worst ?? Number.POSITIVE_INFINITY;
    this.worst = Math.max(this.worst, worst);
    if (sample.outside === 0) return;
    // Elements may be outside without a finite difference: infinite where control's are finite or of the other sign.
    const isFiniteDifference = worst > TOLERATED && Number.isFinite(worst);
    if (isFiniteDifference && worst <= ABOVE_FLOOR * this.floor) return;
    this.#differing++;
    this.firstBeyond ??= `${at}: ${sample.outside} of ${sample.elements} elements, the worst at ${times(worst)}`;
  }

  #isBeyond(what: string): void {
    this.beyond++;
    this.firstBeyond ??= what;
  }

  #isUnsafe(what: string): void {
    this.unsafe ??= what;
  }
}

const times = (worst: number) => `${worst.toPrecision(3)} times the tolerance`;
