/** Every bound of the house in one place, each with its reason. Sizes in bytes, times in the unit named last. */

/** A request body. Long contexts with tool results stay under 4 MB; a 4 GB board must hold several at once. */
export const maxBodyBytes = 4 * 1024 * 1024;
/** Nesting of a JSON body. Tool schemas reach about 20; `JSON.parse` itself would accept millions and stall. */
export const maxJsonDepth = 64;
/** Messages of one chat request. */
export const maxMessages = 2_000;
/** A buffered (not streamed) upstream answer, and one event of a stream. */
export const maxAnswerBytes = 32 * 1024 * 1024;
export const maxEventBytes = 1024 * 1024;

/** An Authorization header is refused unread above this; real credentials are under 1 KB. */
export const maxCredentialBytes = 4096;
/** Caveats of one presented macaroon; every narrowing adds one. */
export const maxCaveats = 64;
/** A 402's header block: proxies and clients with 4 KB buffers exist. */
export const maxChallengeHeaderBytes = 4096;

/** Dropped fields named in a header; Node's clients stop reading headers at 16 KB. */
export const maxDroppedShown = 32;

/** Of an `X-Forwarded-For` only the end is read: chains of proxies are short, the rest is what the client itself wrote. */
export const maxForwardedCharacters = 2_000;
export const maxForwardedEntries = 32;

/** Verified macaroons and credited invoices kept in memory: the credentials in use at one time, about 1 KB each. */
export const maxCachedCredentials = 1_024;
/** How long a command nobody waits for may wait for company on its way to the writer. */
export const unhurriedMs = 2;

/** How long an unpaid invoice lives; really sent to the node. */
export const invoiceExpirySeconds = 600;
/** A stranger who knows only a payment hash makes us ask the node about it at most this often. */
export const strangersLookupMs = 1_000;
/** How long the price of a quote is kept for the request that was quoted, counted from the credit. */
export const pinnedQuoteHours = 24;
/** A claim by bare preimage is answered again for this long; every hop of the payment knows the preimage too. */
export const claimRepeatMs = 10 * 60 * 1000;
/** How long an `Idempotency-Key` stands for its request. */
export const requestKeyHours = 24;
export const maxRequestKeyCharacters = 255;
/** Unknown tokens an address may present in this time; where addresses mean nothing, all such clients together. */
export const tokenGuessWindowMs = 60_000;
export const maxTokenGuesses = 20;
export const maxTokenGuessesInAll = 600;
/** Addresses whose guesses are counted. */
export const maxCountedAddresses = 10_000;
/** Event streams that wait for a payment, over all. */
export const maxPaymentStreams = 1_000;
/** How long a credential's balance pays for calls, from its creation. */
export const credentialDays = 365;
/** A right preimage whose invoice the node still calls open is looked up again for this long before a 503. */
export const settlementPatienceMs = 3_000;
export const settlementRetryMs = 250;
/** Deadline of one call to the node. */
export const nodeCallTimeoutMs = 10_000;
/** Calls to the node at one time; nodes answer slower, not faster, when flooded. */
export const maxParallelNodeCalls = 16;
/** One answer of a node, or one message of its stream; a page of a thousand invoices with their routes is a few MB. */
export const maxNodeAnswerBytes = 32 * 1024 * 1024;
/** Invoices of one page when a node is asked for all it ever made. */
export const lndInvoicePage = 500;
/** Lightning Node Connect: time the program in its Worker has to start and to connect, and how long it may stay unheard before it is asked for a sign of life. */
export const lncStartMs = 20_000;
export const lncConnectMs = 40_000;
export const lncHealthMs = 30_000;
export const lncHealthTimeoutMs = 5_000;
/** A Worker that could not connect is followed by another after this long, doubled each time up to the second figure. */
export const lncFirstRetryMs = 1_000;
export const lncLastRetryMs = 30_000;
/** Who was connected for this long is begun again quickly. */
export const lncSoundMs = 60_000;
/** An owner is told so long before a session ends, which cannot be made longer. */
export const sessionWarnMs = 14 * 24 * 3_600_000;
/** Time a goodbye has to reach the mailbox. */
export const lncGoodbyeMs = 500;
/** Payments of one page, each with all its ways: some may have hundreds of tries. */
export const lndPaymentPage = 100;
export const phoenixdPaymentPage = 200;
/** An expired invoice of phoenixd may still be paid by a payment that was on its way, for which room is being bought: seconds, or as long as it is down. */
export const phoenixdGraceMs = 10 * 60_000;
/** Route hints of one invoice: with more of them a challenge does not fit into the headers of every client. */
export const maxRouteHints = 3;
/** How long what the node can still be paid is believed, and through which channels. */
export const inboundMs = 10_000;
/** A settlement that a look found and the stream has not told after this long means that the stream is half open. */
export const streamPatienceMs = 5_000;
export const dayMs = 86_400_000;
/** How far back node and ledger are compared at the start, and at most when asked; and how long after a failure it is tried again. */
export const reconcileDays = 30;
export const maxReconcileDays = 3_650;
export const reconcileRetryMs = 60_000;
/** Open invoices are looked up this often, whatever the settlement stream says: streams can be half open. */
export const invoicePollMs = 15_000;
/** A settlement stream that broke is opened again after this long, doubled each time up to the second figure. */
export const firstStreamRetryMs = 500;
export const lastStreamRetryMs = 30_000;
/** Open invoices read at one time. */
export const invoicePageSize = 100;
/** BOLT 11: what one QR code can hold. Decoding takes time in the square of the length. */
export const maxInvoiceCharacters = 7_089;
/** An invoice the node does not know is asked about for this long after its expiry before its row goes. */
export const invoiceForgetAfterMs = 60 * 60 * 1000;

/** How long whoever collects waits for the end of the payment, and how long the node is listened to; after that it is asked, less and less often. */
export const payoutWaitMs = 30_000;
export const payoutStreamMs = 90_000;
export const firstPayoutLookMs = 1_000;
export const lastPayoutLookMs = 10 * 60_000;
/** A payment that the node does not know never left: so long after its invoice's expiry, by so many looks that lie so far apart. */
export const absentPayoutAfterMs = 60 * 60 * 1000;
export const absentLooks = 3;
export const absentLookGapMs = 60_000;
/** How long the node may look for a way, and how many blocks a payment may be under way. */
export const paymentTimeoutSeconds = 60;
export const maxPaymentCltvBlocks = 1_008;
/** A payment that the node still calls on its way after all the blocks it may take, and a day: the owner may decide then. */
export const stuckPayoutAfterMs = (maxPaymentCltvBlocks * 10 * 60 + 86_400) * 1000;
/** Payouts on their way, of one account and of all: a payee who holds a payment holds one of some hundred slots of a channel. */
export const maxOpenPayoutsPerAccount = 8;
export const maxOpenPayouts = 100;
/** Blocks that a payee may ask for at the end of a way; wallets ask for 144 at most, and whoever holds a payment holds it so long. */
export const maxPayoutFinalCltvBlocks = 150;
/** How long a verdict that the node holds too little stands before it is looked at again. */
export const insolventMs = 3_000;
/** Payouts read at one time. */
export const payoutPageSize = 200;
/** What left so long before a backup's last row is looked through as well: clocks of node and house may differ. */
export const beforeCopyMs = 60 * 60 * 1000;
/** An invoice to pay: time enough to send it, and not kept for a day that nobody remembers. */
export const minPayoutExpiryMs = 60_000;
export const maxPayoutExpiryMs = 24 * 60 * 60 * 1000;

/** Commands one transaction holds at most: bounds how long a commit makes others wait. */
export const maxBatchCommands = 512;
/** Waiting reserves and quotes. Above it the answer is 503, before any money moves. */
export const maxQueuedCommands = 4_096;
/** How often the writer looks at the size of its log, in commands. */
export const logCheckCommands = 32;
/** Pages of log (4 KiB) that make a checkpoint worth its two syncs. */
export const checkpointPages = 1_000;
/** Pages of log (64 MB) at which writing pauses until a checkpoint has caught up. */
export const pausePages = 16_000;
/** How often a full disk is tried again. */
export const spaceRetryMs = 1_000;

/** Time an upstream has to begin its answer: a slow local model that does not stream begins when it is done. */
export const firstByteTimeoutMs = 900_000;
/** What an upstream may say with an error, and how long it may take for it: somebody else is waiting to be asked. */
export const maxErrorBytes = 64 * 1024;
export const errorBodyTimeoutMs = 2_000;
/** One picture in base64: 4096 x 4096 as PNG is below it. */
export const maxImageBytes = 24 * 1024 * 1024;
/** Silence in the middle of an answer after which it counts as broken. */
export const stallTimeoutMs = 120_000;
/** A comment is sent on a stream that was quiet for this long, so that proxies keep it open. */
export const keepAliveMs = 10_000;
/** A model server that failed is passed over for this long, doubled with each failure in a row up to the second figure. */
export const firstCoolDownMs = 5_000;
export const lastCoolDownMs = 5 * 60_000;
/** Upstream model lists are read again this often. */
export const modelRefreshMs = 30_000;
/** A list of models; the longest of today's is 1 MB. */
export const maxModelListBytes = 16 * 1024 * 1024;
/** Time a model list may take. */
export const modelListTimeoutMs = 5_000;
/** A cap no engine exceeds by rounding: past it the upstream is stopped. In percent of the paid cap. */
export const capTolerancePercent = 110n;
/** Token counts above this are not believed. */
export const absurdTokens = 10_000_000;

/** A web search: how long an engine may take, and how much it may say. */
export const searchTimeoutMs = 15_000;
export const maxSearchAnswerBytes = 4 * 1024 * 1024;
export const maxSearchResults = 20;
export const maxSearchCharacters = 1_000;
/** Pictures of one order, and the longest prompt for them. */
export const maxImages = 10;
export const maxImagePromptCharacters = 32_000;

/** Characters of one order of speech, and of the instructions with it, as OpenAI has them. */
export const maxSpeechCharacters = 4_096;
export const maxSpeechInstructionsCharacters = 4_096;
/** A file of sound, OpenAI's 25 MB, and what may come with it in a form. */
export const maxUploadBytes = 25 * 1024 * 1024;
export const maxFormBytes = maxUploadBytes + 64 * 1024;
export const maxFormFields = 64;
/** All uploads together, from their first byte until they are answered. On its way each is held several times over: measured, half a gigabyte of a 4 GB board. */
export const maxUploadedBytes = 64 * 1024 * 1024;
/** Time an upload may take: 25 MB at half a megabit a second. Who is slower keeps others out. */
export const uploadTimeoutMs = 420_000;
/** A text that helps a transcription; models read less of it. */
export const maxTranscriptionPromptCharacters = 4_096;
/** The longest sound: 25 MB of the thinnest speech last ten hours. */
export const maxSoundSeconds = 12 * 3_600;
/** Bytes of an MP3 that are no frame: a tag at its end. Other formats could hide more sound in more. */
export const maxStrangeSoundBytes = 4 * 1024;
/** Boxes of an MP4 that are looked at: seven for each second of ten hours in fragments. */
export const maxSoundBoxes = 262_144;
/** Elements of a WebM, one for each packet of Opus, and chunks of a WAV: tens of milliseconds. */
export const maxSoundElements = 1_000_000;
export const maxSoundChunks = 1_000;
/** Tracks of one file: sound, picture, languages. */
export const maxSoundTracks = 64;

/** Models whose speed is remembered. */
export const maxMeasuredModels = 1_000;
/** Calls of the log that are read at the start, to know each model again: some ten milliseconds. */
export const maxLearntCalls = 5_000;
/** `Retry-After` where nothing better is known. */
export const defaultRetrySeconds = 5;

/** Bitcoin in dollars: sources needed, how far one may be off the others, how often they are asked, when a price is old and when it is too old. */
export const minRateSources = 3;
export const maxRateSpreadPercent = 10n;
export const rateRefreshMs = 120_000;
export const rateRetryMs = 30_000;
export const rateWarnMs = 10 * 60_000;
export const rateFreezeMs = 60 * 60_000;
export const rateSourceTimeoutMs = 8_000;
export const maxRateAnswerBytes = 1024 * 1024;
/** The public table of prices, about 3 MB today. */
export const maxPriceTableBytes = 32 * 1024 * 1024;
export const priceTableTimeoutMs = 60_000;

/** Streams that are still open get this long when the process is told to end. */
export const drainMs = 8_000;
/** Time for clients to hear that their connection ends. */
export const hangUpMs = 500;

/** With less the first buyers are soon turned away. */
export const lowInboundSats = 50_000n;
/** A secret of the owner's: the longest are macaroons and certificates. */
export const maxSecretBytes = 64 * 1024;
/** `hearth doctor` warns of a slower disk and of less room. */
export const slowSyncMs = 50;
export const lowDiskBytes = 1024 ** 3;

/** Owner's one-time code: dies after this time or this many tries. */
export const ownerCodeMinutes = 15;
export const ownerCodeTries = 5;
/** An owner's session. */
export const ownerSessionHours = 12;
export const maxOwnerSessions = 64;
export const minPasswordCharacters = 8;
export const maxPasswordCharacters = 256;
