"""What spotguard costs, beside the tools that people would use instead. Run by `make bench`; results/ has the table."""
