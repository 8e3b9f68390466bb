# The worker: takes frames on descriptor 3, runs the user's function, answers.
module Envoke
  HANDLERS = { handler: 'context) or (event, context', handle: 'params) or (params, context' }
  WINDOW, PART_COST = 256 << 10, 16 # bytes of a stream's parts that may wait for the host
  PUT_BY = []                       # frames that came while a stream was run

  class Code
    attr_reader :file, :limit

    def initialize(payload)
      @file, @source, @limit = JSON.parse(payload).values_at('filename', 'source', 'max_result')
      @source.delete_prefix!("\uFEFF")
      @limit = Float::INFINITY if @limit.to_i == 0
    end

    # Parses the code and runs none of it. A fragment becomes a lambda, so that it may
    # return; what is put before it is on line 0.
    def parse
      verbose, $VERBOSE = $VERBOSE, nil
      compile(source = "params = context = nil\n#{@source}")
      body = RubyVM::AbstractSyntaxTree.parse(source).children.last
      defined = (body.type == :BLOCK ? body.children : [body]).compact.map { |node| node.type == :DEFN && node.children[0] }
      @name = (HANDLERS.keys & defined).first
      compile(@lambda = "lambda { |params, context|\n#{@source}\n}") unless @name
      %({"form":"#{@name || 'fragment'}","executes":#{!!@name},"serial":true})
    ensure
      $VERBOSE = verbose
    end

    def load
      description = parse
      return description unless @name
      TOPLEVEL_BINDING.eval(@source, @file)
      @method = TOPLEVEL_BINDING.receiver.method(@name)
      @count = count(@method.parameters.map(&:first))
      description
    end

    # A fragment defines its constants and methods for this call alone.
    def fragment(params, context) = Object.new.instance_eval(@lambda, @file, 0).call(params, context)

    def run(params, context)
      return fragment(params, context) unless @name
      event = @count == 1 ? { **context, 'params' => params } : { 'params' => params, 'context' => context }
      @method.call(*[@name == :handle ? params : event, context].first(@count))
    end

    private

    def compile(source) = RubyVM::InstructionSequence.compile(source, @file, @file, 0)

    # Passed is as much as is required; where nothing is, as much as is taken.
    def count(kinds)
      count = kinds.count(:req)
      count = kinds.include?(:rest) ? 2 : [kinds.count(:opt), 2].min if count == 0
      return count if count <= 2 && !kinds.include?(:keyreq)
      raise ArgumentError, "#{@name} requires more than it is given: it may take (#{HANDLERS[@name]})"
    end
  end

  # What other threads raise here, such as an exit, waits for a call: it must not cut a
  # frame in two.
  def self.main
    take_output
    tell(READY, 0, %({"version":"#{RUBY_VERSION}"}))
    Thread.handle_interrupt(Object => :never) { loop { serve(*(PUT_BY.shift || receive)) } }
  end

  def self.serve(kind, id, payload)
    case kind
    when CHECK then answer(id, 'load', code = Code.new(payload)) { [LOADED, code.parse] }
    when LOAD then answer(id, 'load', @code = Code.new(payload)) { [LOADED, @code.load] }
    when INVOKE then @code ? invoke(id, payload) : die('an invocation before the load was answered')
    when MORE, CANCEL # of a stream that is over
    else die("a frame of unknown type #{kind}")
    end
  end

  # Answers with what the block returns, or with what it raises.
  def self.answer(id, kind, code, &block)
    (call = Call.new(id)).add(Thread.main)
    call.answer(*Thread.handle_interrupt(Object => :immediate, &block))
  rescue Exception => error
    call.answer(FAILED, failure(kind, error, code.file))
  end

  def self.invoke(id, payload)
    BACKGROUND.renew
    outlive
    begin
      event = JSON.parse(payload, max_nesting: MAX_DEPTH)
    rescue JSON::ParserError, EncodingError => error
      return answer(id, 'params', @code) { raise error }
    end
    answer(id, 'thrown', @code) do
      value = @code.run(event['params'], event['context'] || {})
      items, head = stream_in(value)
      stream(id, items, head) if items
      [RESULT, encode(items ? nil : value)]
    end
  end

  def self.encode(value) = Encoder.new(@code.limit).encode(value)

  # Logs what threads that were left behind have raised here: it is no call's.
  def self.outlive
    Thread.handle_interrupt(Object => :immediate) { Thread.pass }
  rescue Exception => error
    BACKGROUND.print(ERROR, "uncaught: #{type_of(error)}: #{message_of(error)}\n")
  end

  # Returns the items of a value that is to be streamed and what goes with them, or nil.
  def self.stream_in(value)
    return value, nil if Enumerator === value
    return unless Hash === value && (value.key?('statusCode') || value.key?(:statusCode))
    response = value.transform_keys(&:to_s)
    [response['body'], response.slice('statusCode', 'headers')] if Enumerator === response['body']
  end

  # Sends the items of a stream, each before the next is asked for.
  def self.stream(id, items, head)
    tell(STREAM, id, encode(head))
    room = WINDOW
    items.each do |*item|
      item = item.first if item.size < 2
      bytes = String === item && item.encoding == Encoding::BINARY
      raise TooLarge, 'a part is too large' if bytes && item.bytesize > @code.limit
      tell(PART, id, part = bytes ? "\1#{item}" : "\0#{encode(item)}")
      room = heed(id, room - part.bytesize + 1 - PART_COST) or break
    end
  end

  # Takes what the host says about the stream, waits for room, and puts all else by.
  # Returns the room, or nil when nobody wants the rest.
  def self.heed(id, room)
    Thread.handle_interrupt(Object => :never) do
      while room <= 0 || IO.select([INPUT], nil, nil, 0)
        kind, call, payload = frame = receive
        return if kind == CANCEL && call == id
        kind == MORE && call == id ? room += payload.to_i : PUT_BY << frame
      end
    end
    room
  end
end

worker = Envoke
Object.send(:remove_const, :Envoke)
worker.main
