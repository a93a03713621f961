/** What goes over the line between a server and a voter, as JSON; both ends check what they hear. */
import { z } from 'zod'
import type { Row } from '../states.ts'
import type { Roll } from './roll.ts'
import type { Answer, Grant, Kept, Request } from './voter.ts'

const name = z.string().min(1).max(255)
const incarnation = z.string().min(1).max(64)
const term = z.number().int().nonnegative()
const counter = z.number().int().nonnegative()
const leaseMs = z.number().int().nonnegative().max(86_400_000)
const reason = z.string().max(1000)
const complete = z.array(name).max(16)
const maxVoters = 64
const paused = z.object({ by: name, reason, until: z.string().max(64).optional() }).optional()

const roll: z.ZodType<Roll> = z.object({
  ...{ term: z.number().int(), version: counter, voters: z.array(name).max(maxVoters) },
})

const grantForm: z.ZodType<Grant> = z.object({
  ...{ term, holder: name, incarnation, released: z.boolean(), intended: name.optional() },
  overruledBy: z.string().max(200).optional(),
  ...{ leaseMs, won: z.boolean(), complete, paused },
}) as z.ZodType<Grant>

/** The file of a voter. */
export const keptForm: z.ZodType<Kept> = z.object({
  ...{ grant: grantForm.optional(), roll: roll.optional() },
}) as unknown as z.ZodType<Kept>

const over = z.object({
  ...{ term, holder: name.optional(), incarnation: incarnation.optional() },
  ...{ released: z.boolean(), counter, leaseMs, intended: name.optional(), paused },
  overruledBy: z.string().max(200).optional(),
  database: z.string().max(255).optional(),
}) as unknown as z.ZodType<Row>

const limit = z.object({ most: z.number().int().min(1), withinMs: z.number().int().min(1) })
const claimant = { server: name, incarnation, leaseMs, limit: limit.optional() }
const claim = z.object({ term, over, whileSilent: z.boolean(), reason })

const requestForm: z.ZodType<Request> = z.discriminatedUnion('ask', [
  z.object({ ask: z.literal('look') }),
  z.object({
    ask: z.literal('renew'),
    heartbeat: z.object({ ...claimant, term, counter, complete, paused, roll }),
  }),
  z.object({ ask: z.literal('sound'), claim, by: z.object(claimant) }),
  z.object({ ask: z.literal('vote'), claim, by: z.object(claimant) }),
  z.object({ ask: z.literal('release'), term, incarnation, intended: name.optional() }),
]) as unknown as z.ZodType<Request>

const answerForm: z.ZodType<Answer> = z.object({
  yes: z.boolean(),
  because: reason.optional(),
  grant: grantForm.optional(),
  roll: roll.optional(),
  counter,
}) as unknown as z.ZodType<Answer>

/** A question of a server to a voter, and its answer, each a line. */
export const questionLine = z.object({ id: z.number().int(), request: requestForm })
export const answerLine = z.object({ id: z.number().int(), answer: answerForm })
/** Longer ones end the line: nobody who means well sends them. */
export const maxLineBytes = 64 * 1024
