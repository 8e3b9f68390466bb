# From source to a handler: a function of params and context.

module Envoke
  class Code
    HANDLERS = { handler: 'context) or (event, context', handle: 'params) or (params, context' }

    attr_reader :filename, :limit

    def initialize(payload)
      @filename, @source, @limit = JSON.parse(payload).values_at('filename', 'source', 'max_result')
      @source.delete_prefix!("\uFEFF")
      @limit = Float::INFINITY if @limit.to_i == 0
    end

    # Parses the code and runs none of it. A fragment becomes a lambda, which it may
    # return from. Line 0 is ours.
    def parse
      verbose, $VERBOSE = $VERBOSE, nil
      compile("params = context = nil\n#{@source}")
      @name = (HANDLERS.keys & definitions).first
      compile(@lambda = "lambda { |params, context|\n#{@source}\n}") unless @name
      %({"form":"#{@name || 'fragment'}","executes":#{!!@name},"serial":true})
    ensure
      $VERBOSE = verbose
    end

    # Runs what must be run.
    def load
      description = parse
      if @name
        TOPLEVEL_BINDING.eval(@source, @filename)
        @method = TOPLEVEL_BINDING.receiver.method(@name)
        @count = count(@method.parameters.map(&:first))
      end
      description
    end

    def run(params, context)
      return fragment(params, context) unless @name
      event = { 'params' => params, 'context' => context }
      given = @name == :handle ? [params, context] : [@count == 1 ? context.merge('params' => params) : event, context]
      @method.call(*given.first(@count))
    end

    private

    # Has the fragment define its constants and methods for this call alone.
    def fragment(params, context) = Object.new.instance_eval(@lambda, @filename, 0).call(params, context)

    def compile(source) = RubyVM::InstructionSequence.compile(source, @filename, @filename, 0)

    # Returns the names of the methods that are defined at the top level.
    def definitions
      body = RubyVM::AbstractSyntaxTree.parse(@source).children.last
      (body.type == :BLOCK ? body.children : [body]).compact.filter_map { |node| node.children.first if node.type == :DEFN }
    end

    # Returns how many arguments to pass: as many as are required; if none is, as many as
    # are taken.
    def count(kinds)
      count = kinds.count(:req)
      count = kinds.include?(:rest) ? 2 : [kinds.count(:opt), 2].min if count == 0
      return count if count <= 2 && !kinds.include?(:keyreq)
      raise ArgumentError, "#{@name} requires more than it is given: it may take (#{HANDLERS[@name]})"
    end
  end
end
