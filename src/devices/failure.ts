/**
 * Why a session with a device came to nothing.
 *
 * - unreachable: no connection to the address and port
 * - authentication: the device knows neither user nor secret, or refused the privileged level
 * - host-key-changed: it is not the device that was met before, or it has a new key
 * - timeout: it stopped answering
 * - incomplete: the answer cannot be proven whole and clean
 * - rejected: the device, or what it speaks, refuses what was asked
 * - aborted: Keepwatch itself ended the session
 */
export type FailureReason =
  | 'unreachable'
  | 'authentication'
  | 'host-key-changed'
  | 'timeout'
  | 'incomplete'
  | 'rejected'
  | 'aborted'

/** A session that failed, with what was said until then: passwords and known secrets are hidden. */
export class DeviceFailure extends Error {
  override name = 'DeviceFailure'
  readonly reason: FailureReason
  readonly evidence: string

  constructor(reason: FailureReason, message: string, evidence: string) {
    super(message)
    this.reason = reason
    this.evidence = evidence
  }
}
